// The service behind Restate: a handler of one durable step. `node restate_service.mjs PORT`, with node_modules of
// the directory that it is copied to.
import * as restate from "@restatedev/restate-sdk";

const bench = restate.service({
  name: "bench",
  handlers: {
    one: async (ctx, input) => ctx.run("step", () => JSON.stringify(input).length),
  },
});

restate.endpoint().bind(bench).listen(Number(process.argv[2]));
