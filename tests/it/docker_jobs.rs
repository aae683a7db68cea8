//! Jobs that are containers, through the real binary.

crate::scenarios::every_scenario!(crate::bench::On::Docker);
