// How a client or a worker of the SDK reaches the server: address, key and task hub.

import grpc from "@grpc/grpc-js";
import sdk from "@microsoft/durabletask-js";

// Enough to see what the SDK complains of, when that is asked for.
const silent = new sdk.NoOpLogger();

export class Server {
  constructor({ address, key, hub, verbose }) {
    this.address = address;
    this.key = key;
    this.hub = hub;
    this.logger = verbose ? new sdk.ConsoleLogger() : silent;
  }

  // A client; the options are those of the SDK's constructor.
  client(options = {}) {
    return new sdk.TaskHubGrpcClient({ ...this.#common(), ...options });
  }

  // A worker that is not started yet; the options are those of the SDK's constructor.
  worker(options = {}) {
    return new sdk.TaskHubGrpcWorker({ ...this.#common(), ...options });
  }

  #common() {
    return {
      hostAddress: this.address,
      logger: this.logger,
      metadataGenerator: async () => {
        const metadata = new grpc.Metadata();
        if (this.key) metadata.set("authorization", `Bearer ${this.key}`);
        if (this.hub) metadata.set("taskhub", this.hub);
        return metadata;
      },
    };
  }
}
