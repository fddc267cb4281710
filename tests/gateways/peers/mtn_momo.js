// Sparkplug's client "mtn-momo" against the address given first; prints what it saw as JSON.
// argv: module, base address, then key, user and secret of collection and of disbursement.
const [module_, baseUrl, ck, cu, cs, dk, du, ds] = process.argv.slice(2);
const momo = require(module_);
const { Collections, Disbursements, Users } = momo.create({ callbackHost: "localhost", baseUrl });

const party = (digits) => ({ partyIdType: "MSISDN", partyId: digits });
const money = (amount) => ({ amount, currency: "EUR", externalId: "o-1" });
const failure = (promise) => promise.then(() => "none", (error) => error.name);

async function main() {
  const out = {};
  const users = Users({ primaryKey: ck });
  const user = await users.create("localhost");
  const { apiKey } = await users.login(user);
  out.provisioned = apiKey.length;

  const collections = Collections({ primaryKey: ck, userId: user, userSecret: apiKey });
  const paid = await collections.requestToPay({
    ...money("50"), payer: party("46733000001"), payerMessage: "thanks", payeeNote: "order",
    callbackUrl: "http://localhost/hook",
  });
  const found = await collections.getTransaction(paid);
  out.paid = [found.status, found.amount, found.payer.partyId];
  const refused = await collections.requestToPay({ ...money("50"), payer: party("46733123451") });
  out.refused = await failure(collections.getTransaction(refused));
  const open = await collections.requestToPay({ ...money("50"), payer: party("46733123453") });
  out.open = (await collections.getTransaction(open)).status;
  out.down = await failure(collections.requestToPay({ ...money("50"), payer: party("46733123462") }));
  out.unknown = await failure(collections.getTransaction("00000000-0000-4000-8000-000000000000"));
  out.collected = await collections.getBalance();
  out.active = (await collections.isPayerActive("46733000001")).result;

  const disbursements = Disbursements({ primaryKey: dk, userId: du, userSecret: ds });
  const referenceId = "11111111-1111-4111-8111-111111111111";
  const transfer = { ...money("20"), referenceId, payee: party("46733000002"), payerMessage: "a",
    payeeNote: "b" };
  await disbursements.transfer(transfer);
  out.transferred = (await disbursements.getTransaction(referenceId)).status;
  out.again = await failure(disbursements.transfer(transfer));
  out.payee_active = await disbursements.isPayerActive("46733000002");

  const wrong = Collections({ primaryKey: dk, userId: cu, userSecret: cs });
  out.wrong_product = await failure(wrong.getBalance());
  console.log(JSON.stringify(out));
}

main().catch((error) => { console.error(error); process.exit(1); });
