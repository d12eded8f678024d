// Stands in for Bugfender in the integration tests: an OAuth 2 server that others wrote and that is strict about the
// standards, with the few API calls the tests need. What the client sends is so judged by more than our own reading.
//
//     node server.mjs --options '{"access_ttl": 2, "service_key": "/path/to/public.pem"}'
//
// access_ttl       seconds an access token lives (3600)
// service_key      PEM file with the RSA public key of the client `service-key`, which is there only if this is given
// token_delay_ms   how much later a token request is answered, after it has been processed (0)
// expired_is_403   a token that isn't live gets 403 from the API, not 401 (false)

import { createPublicKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parse as parseForm } from 'node:querystring';
import { parseArgs } from 'node:util';

import Provider from 'oidc-provider';

// Standard output is for the one line that tells the address; the provider puts its notices there too.
console.log = console.info = console.error;

const args = parseArgs({ options: { options: { type: 'string', default: '{}' } } });
const {
  access_ttl: accessTtl = 3600,
  service_key: serviceKey,
  token_delay_ms: tokenDelay = 0,
  expired_is_403: expiredIs403 = false,
  ...unknown
} = JSON.parse(args.values.options);
if (Object.keys(unknown).length) throw new Error(`unknown options: ${Object.keys(unknown)}`);

const USER = 'user-1';
const SCOPES = ['all', 'openid', 'offline_access'];
const DAY = 24 * 60 * 60;
const LONG_LIVED = { RefreshToken: DAY, Grant: DAY, Session: DAY, Interaction: DAY, IdToken: DAY };
const TOKEN_PATH = '/auth/token';
const TOKEN_FAULTS = ['503', 'drop-before', 'drop-after', 'hang'];
const EVENTS = ['new_crash', 'new_issue_separate', 'new_user_feedback'];
const APPS = [
  { id: 1001, key: 'key-1001', name: 'Test app for Android', colour_of_the_day: 'teal' },
  { id: 1002, key: 'key-1002', name: 'Test app for iOS', colour_of_the_day: null },
];
const ME = {
  id: 1,
  name: 'Test user',
  email: 'user@bugfender.invalid',
  teams: [{ id: 1, name: 'Test team' }],
  favourite_biscuits: ['digestive', { name: 'shortbread' }],
};

const requests = [];
const tokenFaults = [];
const held = new Set();
const hooks = new Set();
const accessTokens = [];
let lastHook = 0;
let denyNext = false;

// The provider must know its own address, so the port comes first. Nobody knows of it before the provider is there.
const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(origin, {
  clients: clients(),
  routes: { authorization: '/auth/authorize', token: TOKEN_PATH },
  scopes: SCOPES,
  pkce: { required: () => true, methods: ['S256'] },
  // As Bugfender does, and unlike the provider's defaults: a refresh token comes without being asked for by a scope,
  // it is another one each time, and it outlives the user's session in the browser.
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  expiresWithSession: () => false,
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  cookies: { keys: [randomBytes(16).toString('hex')] },
  ttl: { AccessToken: accessTtl, ClientCredentials: accessTtl, ...LONG_LIVED },
});
for (const kind of ['access_token', 'client_credentials']) {
  provider.on(`${kind}.saved`, (token) => accessTokens.push(token));
}
// A client is told less than the provider knows: the details are for whoever reads the log of a failed test.
provider.on('grant.error', (ctx, error) => console.error(`token: ${error.error}: ${error.error_detail ?? error}`));
const oauth = provider.callback();

function clients() {
  const machine = { grant_types: ['client_credentials'], response_types: [], redirect_uris: [] };
  const user = {
    // A native client may come back to any port of the loopback address (RFC 8252, 7.3).
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1/callback'],
  };
  const secret = (value) => ({ client_secret: value, token_endpoint_auth_method: 'client_secret_post' });
  const known = [
    { client_id: 'service', ...machine, ...secret('service-secret') },
    { client_id: 'app', ...user, token_endpoint_auth_method: 'none' },
    { client_id: 'confidential-app', ...user, ...secret('app-secret') },
  ];
  if (serviceKey) {
    const key = createPublicKey(readFileSync(serviceKey));
    if (key.asymmetricKeyType !== 'rsa') throw new Error('service_key must be an RSA key');
    const method = { token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'RS256' };
    known.push({ client_id: 'service-key', ...machine, ...method, jwks: { keys: [key.export({ format: 'jwk' })] } });
  }
  return known;
}

function send(res, status, body) {
  res.statusCode = status;
  if (body === undefined) return res.end();
  return res.setHeader('content-type', 'application/json').end(JSON.stringify(body));
}

/** What a test may see of a request. Never the value of a token or a secret. */
function note(req, res, path, query, form) {
  const record = {
    method: req.method,
    path,
    status: null,
    grant_type: form.grant_type ?? null,
    client_id: form.client_id ?? query.get('client_id'),
    client_auth: path === TOKEN_PATH ? clientAuth(req, form) : null,
    has_authorization: req.headers.authorization !== undefined,
    form_keys: Object.keys(form),
  };
  if (/^\/(auth|api)\//.test(path)) requests.push(record);
  // 0: the connection was closed, by either side, without an answer.
  res.on('close', () => { record.status ??= 0; });
  return record;
}

function clientAuth(req, form) {
  if (/^basic /i.test(req.headers.authorization)) return 'client_secret_basic';
  if ('client_assertion' in form) return 'private_key_jwt';
  return 'client_secret' in form ? 'client_secret_post' : 'none';
}

/** Holds back the answer that others give: until it has been noted, for a while, or for good. */
function intercept(req, res, record, delay, drop) {
  const end = res.end.bind(res);
  res.end = (...body) => {
    const finish = () => {
      if (drop || req.socket.destroyed) return req.socket.destroy();
      // Before the answer is out, so that a client who has it finds it in the list.
      record.status = res.statusCode;
      return end(...body);
    };
    if (delay) setTimeout(finish, delay);
    else finish();
    return res;
  };
}

/** There is nobody to ask: the user signs in and consents at once, or denies. */
async function interact(req, res) {
  const { params } = await provider.interactionDetails(req, res);
  if (denyNext || params.login_hint === 'deny') {
    denyNext = false;
    const result = { error: 'access_denied', error_description: 'the user said no' };
    return provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
  }
  const grant = new provider.Grant({ accountId: USER, clientId: params.client_id });
  grant.addOIDCScope(SCOPES.join(' '));
  const result = { login: { accountId: USER }, consent: { grantId: await grant.save() } };
  return provider.interactionFinished(req, res, result);
}

async function api(req, res, path, body) {
  const header = req.headers.authorization;
  if (header === undefined) return send(res, 401, { error: 'no credentials supplied' });
  const token = /^Bearer (\S+)$/i.exec(header)?.[1];
  const live = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
  // Found is not enough: the provider's tolerance for clocks that differ would add seconds to a token's life.
  if (!live?.isValid) return send(res, expiredIs403 ? 403 : 401, { error: 'the credentials are not valid' });

  const hook = /^\/api\/hook\/(\d+)\/$/.exec(path);
  if (req.method === 'GET' && path === '/api/me') return send(res, 200, ME);
  if (req.method === 'GET' && path === '/api/app/') return send(res, 200, APPS);
  if (req.method === 'POST' && path === '/api/hook/subscribe') return subscribe(req, res, body);
  if (req.method === 'DELETE' && hook) return send(res, hooks.delete(Number(hook[1])) ? 200 : 404);
  return send(res, 404, { error: 'there is nothing here' });
}

function parseJson(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

function subscribe(req, res, body) {
  const isJson = /^application\/json\b/.test(req.headers['content-type']);
  const { target_url, event, app_id } = isJson ? parseJson(body) : {};
  if (typeof target_url !== 'string' || !EVENTS.includes(event) || !Number.isSafeInteger(app_id)) {
    return send(res, 400, { error: "the request wasn't understood" });
  }
  lastHook += 1;
  hooks.add(lastHook);
  return send(res, 201, { id: lastHook, event, target_url, app_id });
}

async function control(req, res, path, body) {
  switch (`${req.method} ${path}`) {
    case 'GET /control/requests':
      return send(res, 200, requests);
    case 'POST /control/revoke-access':
      await Promise.all(accessTokens.splice(0).map((token) => token.destroy()));
      return send(res, 204);
    case 'POST /control/deny':
      denyNext = true;
      return send(res, 204);
    case 'POST /control/token-fault': {
      const { kind, times = 1 } = parseJson(body);
      if (!TOKEN_FAULTS.includes(kind)) return send(res, 400, { error: `no such fault: ${kind}` });
      tokenFaults.push(...Array(times).fill(kind));
      return send(res, 204);
    }
    case 'POST /control/release':
      held.forEach((request) => request.socket.destroy());
      held.clear();
      return send(res, 204);
    default:
      return send(res, 404, { error: 'no such control' });
  }
}

async function serve(req, res) {
  const { pathname: path, searchParams: query } = new URL(req.url, origin);
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  if (path.startsWith('/control/')) return control(req, res, path, body);
  if (path.startsWith('/interaction/')) return interact(req, res);

  const isForm = /^application\/x-www-form-urlencoded\b/.test(req.headers['content-type']);
  // The provider looks here for a form that somebody else has read.
  req.body = isForm ? parseForm(body) : {};
  const record = note(req, res, path, query, req.body);
  const isToken = req.method === 'POST' && path === TOKEN_PATH;
  const fault = isToken ? tokenFaults.shift() : undefined;
  intercept(req, res, record, isToken ? tokenDelay : 0, fault === 'drop-after');
  if (fault === '503') return send(res, 503, { error: 'temporarily_unavailable' });
  if (fault === 'drop-before') return req.socket.destroy();
  if (fault === 'hang') return held.add(req);
  return path.startsWith('/api/') ? api(req, res, path, body) : oauth(req, res);
}

server.on('request', (req, res) => {
  serve(req, res).catch((error) => {
    console.error(error);
    const { status = 500, error_description: description = 'the test server failed' } = error;
    if (!res.headersSent && !res.destroyed) send(res, status, { error: description });
  });
});

// However the test ends, its end of standard input closes: this server never outlives it.
for (const event of ['end', 'close', 'error']) process.stdin.on(event, () => process.exit(0));
process.stdin.resume();

process.stdout.write(`${JSON.stringify({ url: origin })}\n`);
