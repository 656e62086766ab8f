// The server part of a desktop client of many model servers. It reads none of their streams: it has the gateway
// read them, and says to which topics their events go.
import { serve, tidegate } from '../live/web.mjs';

const RETRY = process.env.RETRY ?? '1s';

/** The gateway's source for a model server: five attempts, each after twice the time. */
const source = (url) => ({
  url,
  retry: RETRY,
  retry_factor: 2,
  retry_jitter: 0,
  attempts_max: 5,
  // How far an answer is: who is slow needs the newest only. Tokens are all needed.
  conflate: ['session_progress'],
  topics: [
    'instance.{source}.session.{data.parentId}.child.{data.sessionId}',
    'instance.{source}.session.{data.sessionId}',
    'instance.{source}',
  ],
});

serve(import.meta.url, {
  'GET /api/instances': async () => {
    const { sources } = await tidegate('GET', '/sources');
    return sources.map(({ name, state, last_error: error }) => ({ name, state, error }));
  },
  'PUT /api/instances/:name': ({ name }, { url }) => tidegate('PUT', `/sources/${name}`, source(url)),
  'DELETE /api/instances/:name': ({ name }) => tidegate('DELETE', `/sources/${name}`),
});
