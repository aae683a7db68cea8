//! The limits of array jobs.

/// Children of one array: what became of each is a bit in its snapshot, which is written whenever one begins or ends.
pub const ARRAY_SIZE_MAX: u32 = 10_000;

/// Children of an array that exist at once: each is a job, and all of them are told at once when the array is cancelled
/// or suspended.
pub const ARRAY_PARALLELISM_MAX: u32 = 1_000;

/// Children that exist at once where the array does not say.
pub const ARRAY_PARALLELISM_DEFAULT: u32 = 100;

/// The longest list of arrays in one answer.
pub const ARRAY_PAGE_MAX: usize = 500;
