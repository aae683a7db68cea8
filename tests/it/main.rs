//! End-to-end tests: one binary, a file per promise or feature.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod admission;
mod api_auth;
mod api_bad_input;
mod api_callbacks;
mod api_jobs;
mod api_mount;
mod api_openapi;
mod api_orchestrations;
mod api_server;
mod api_support;
mod api_webhooks;
mod arrays;
mod backup;
mod bench;
mod cli_args;
mod cli_binary;
mod cli_client;
mod cli_fake;
mod cli_run;
mod config;
mod crash_harness;
mod crash_orchestrations;
mod defects;
mod disk_faults;
mod docker_attempts;
mod docker_burst;
mod docker_demo;
mod docker_engine;
mod docker_faults;
mod docker_groups;
mod docker_jobs;
mod docker_registry;
mod docker_restart;
mod durable_functions;
mod durable_task;
mod durable_task_calls;
mod engine_proxy;
mod engine_request;
mod examples;
#[path = "../shared/faultfs.rs"]
mod faultfs;
mod files;
mod flips;
mod foreign;
mod ledger;
mod old_formats;
mod overload;
mod own_engine;
#[cfg(feature = "fault-points")]
mod points;
mod pools;
mod process_jobs;
mod queues;
#[path = "../shared/random.rs"]
mod random;
mod restarts;
mod scenarios;
mod schedules;
mod triggers;
mod troubles;
mod usage;
mod webhook_delivery;
