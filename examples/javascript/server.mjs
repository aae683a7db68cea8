// Where the server is: DOGWATCH_GRPC, and DOGWATCH_API_KEY where it asks for a key.

import grpc from "@grpc/grpc-js";
import sdk from "@microsoft/durabletask-js";

// What a client or a worker of the SDK is constructed with.
export const options = {
  hostAddress: process.env.DOGWATCH_GRPC ?? "localhost:7072",
  logger: new sdk.NoOpLogger(),
  metadataGenerator: async () => {
    const metadata = new grpc.Metadata();
    const key = process.env.DOGWATCH_API_KEY;
    if (key) metadata.set("authorization", `Bearer ${key}`);
    return metadata;
  },
};
