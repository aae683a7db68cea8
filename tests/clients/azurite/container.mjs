// Makes a container on an Azurite at the address of the first argument, named by the second: what a bucket's owner does
// once, and no client of ours.
import { createHmac } from "node:crypto";

const [address, container] = process.argv.slice(2);
const account = "devstoreaccount1";
// The well-known key of the emulator.
const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const date = new Date().toUTCString();
const headers = `x-ms-date:${date}\nx-ms-version:2023-11-03\n`;
const resource = `/${account}/${account}/${container}\nrestype:container`;
const text = `PUT${"\n".repeat(12)}${headers}${resource}`;
const signature = createHmac("sha256", Buffer.from(key, "base64")).update(text, "utf8").digest("base64");
const answer = await fetch(`${address}/${account}/${container}?restype=container`, {
  method: "PUT",
  headers: {
    "x-ms-date": date,
    "x-ms-version": "2023-11-03",
    authorization: `SharedKey ${account}:${signature}`,
  },
});
if (answer.status !== 201) {
  console.error(answer.status, await answer.text());
  process.exit(1);
}
