// The service behind Restate: a handler of one durable step. `node restate_service.mjs PORT`, with node_modules of
// the directory that it is copied to.
import * as restate from "@restatedev/restate-sdk";

// The SDK asks for it of every Node, and Node has it since version 22.
Promise.withResolvers ??= () => {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};

const bench = restate.service({
  name: "bench",
  handlers: {
    one: async (ctx, input) => ctx.run("step", () => JSON.stringify(input).length),
  },
});

restate.endpoint().bind(bench).listen(Number(process.argv[2]));
