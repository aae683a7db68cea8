// What is left out by `--in-memory`: the suite is tried out against the backend for unit tests that the SDK for Python
// brings, `python ../durabletask-python/in_memory.py PORT [KEY]`, and that cannot do these. The one of the SDK for
// JavaScript is no server.

const early = "takes the time of the start from the call, which is 1970 where this SDK names none";

export const CANNOT = {
  timers: early,
  event_with_a_timeout: early,
  scheduled_start: "starts at once, whatever the start time says",
  sub_orchestration_knows_its_parent: "tells a child nothing about its parent",
  sub_orchestrations_over_generations: "gives executions no id, of which the SDK makes the ids of children",
  tags: "tells clients no tags",
  purge: "purges no children",
  terminate_recursively: "terminates no children",
  no_retry_of_what_cannot_be_retried: "the parent is not told that a failure is final",
  locked_entity_lets_others_wait: "a lock keeps out locks only, not calls and signals",
};
