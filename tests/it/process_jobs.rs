//! Jobs that are processes, through the real binary.

crate::scenarios::every_scenario!(crate::bench::On::Process);
