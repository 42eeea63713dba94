// The life of one account with npm's acme-client: two certificates with a change of the account key between them,
// revocation, deactivation. Configuration comes as JSON in the first argument; writes first.pem, second.pem.
const fs = require("node:fs");
const path = require("node:path");
const acme = require("acme-client");

const settings = JSON.parse(process.argv[2]);
const challengeFile = (token) => path.join(settings.challenges, token);

async function issue(client, names) {
  const [key, csr] = await acme.crypto.createCsr({ altNames: names });
  fs.writeFileSync("host.key", key);
  return client.auto({
    csr,
    email: settings.contact,
    termsOfServiceAgreed: true,
    skipChallengeVerification: true,
    challengePriority: ["http-01"],
    challengeCreateFn: async (authz, challenge, keyAuthorization) =>
      fs.writeFileSync(challengeFile(challenge.token), keyAuthorization),
    challengeRemoveFn: async (authz, challenge) => fs.rmSync(challengeFile(challenge.token)),
  });
}

async function main() {
  const client = new acme.Client({
    directoryUrl: settings.directory,
    accountKey: await acme.crypto.createPrivateEcdsaKey(),
    externalAccountBinding: settings.external_key,
    backoffMin: 100,
    backoffMax: 500,
  });
  fs.writeFileSync("first.pem", await issue(client, settings.names));
  await client.updateAccountKey(await acme.crypto.createPrivateEcdsaKey());
  fs.writeFileSync("second.pem", await issue(client, settings.names));
  await client.revokeCertificate(fs.readFileSync("first.pem"), { reason: 4 });
  await client.updateAccount({ status: "deactivated" });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
