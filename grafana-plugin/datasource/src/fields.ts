import type { QueryType } from './types';

/** What the editor asks beside the query type. */
export type Field =
  | 'direction'
  | 'selector'
  | 'measure'
  | 'groupBy'
  | 'percentiles'
  | 'orderBy'
  | 'limit'
  | 'exchange'
  | 'trace'
  | 'session'
  | 'key'
  | 'scenario';

const exchanges: Field[] = ['direction', 'selector'];

/** What each query type reads. */
export const fieldsOf: Record<QueryType, Field[]> = {
  traffic: exchanges,
  throughput: [...exchanges, 'measure', 'groupBy'],
  errors: [...exchanges, 'measure', 'groupBy'],
  latency: [...exchanges, 'percentiles', 'groupBy'],
  heatmap: exchanges,
  top: [...exchanges, 'groupBy', 'orderBy', 'limit'],
  service_map: ['selector'],
  dependencies: ['selector', 'limit'],
  exchange: ['exchange'],
  sequence: ['trace', 'session', 'exchange'],
  values: [...exchanges, 'key'],
  pipeline: ['selector', 'measure'],
  scenarios: ['scenario', 'limit'],
  replays: ['scenario', 'limit'],
};

export interface Choice {
  value: string;
  label: string;
  description?: string;
}

const errorRate: Choice = { value: 'error_rate', label: 'Error rate', description: 'Share of the exchanges that are errors' };
const errors: Choice = { value: 'errors', label: 'Errors/s', description: 'The callee failed or gave no complete answer' };

/** What is counted, the default first. */
export const measuresOf: Partial<Record<QueryType, Choice[]>> = {
  throughput: [
    { value: 'requests', label: 'Requests/s', description: 'Exchanges begun' },
    errors,
    errorRate,
    { value: 'request_bytes', label: 'Request bytes/s', description: 'Sent by the caller' },
    { value: 'response_bytes', label: 'Response bytes/s', description: 'Sent by the callee' },
  ],
  errors: [errorRate, errors, { value: 'error_count', label: 'Errors', description: 'How many in each interval' }],
  pipeline: [
    { value: 'lag', label: 'Greatest lag', description: 'From the end of a tape to its place in the index' },
    { value: 'mean_lag', label: 'Mean lag' },
    { value: 'exchanges', label: 'Exchanges/s', description: 'Indexed' },
    { value: 'tapes', label: 'Tapes/s' },
    { value: 'bytes', label: 'Tape bytes/s' },
    { value: 'dropped', label: 'Dropped', description: 'Exchanges that capture did not record' },
    { value: 'dead', label: 'Dead letters', description: 'Exchanges that could not be indexed' },
    { value: 'sources', label: 'Sources', description: 'A table: what each source began, and where it is' },
    { value: 'freshness', label: 'Freshness', description: 'A table: how old the newest tape of each service is' },
  ],
};

export const orders: Choice[] = [
  { value: 'requests', label: 'Requests' },
  { value: 'errors', label: 'Errors' },
  { value: 'error_rate', label: 'Error rate' },
  { value: 'p50', label: 'Median' },
  { value: 'p95', label: '95th percentile' },
  { value: 'p99', label: '99th percentile' },
  { value: 'max', label: 'Longest' },
  { value: 'bytes', label: 'Bytes' },
];

const splitKeys = ['service', 'direction', 'host', 'method', 'endpoint', 'protocol', 'namespace', 'cluster'];

/** What lines and rows can be split by. */
export function groupsOf(type: QueryType): string[] {
  return type === 'errors' ? [...splitKeys, 'class'] : splitKeys;
}

export const percentiles = ['50', '75', '90', '95', '99', '99.9', '100'];

/** What template variables list. */
export const variableKeys = [
  'cluster',
  'namespace',
  'service',
  'version',
  'endpoint',
  'direction',
  'host',
  'method',
  'protocol',
  'status',
  'class',
  'replay',
  'scenario',
];
