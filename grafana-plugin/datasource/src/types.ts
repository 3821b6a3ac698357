import type { DataSourceJsonData } from '@grafana/data';
import type { DataQuery } from '@grafana/schema';

export type QueryType = 'traffic' | 'throughput';

export type Direction = 'inbound' | 'outbound';

/** What throughput counts; the first is the default. */
export type Measure = 'requests' | 'errors' | 'error_rate' | 'request_bytes' | 'response_bytes';

/** The query as dashboards store it and the backend reads it. */
export interface TrafficQuery extends DataQuery {
  queryType: QueryType;
  /** The filter language of tapedeck: {service="cart" && status>=500}. Empty: everything but replays. */
  selector?: string;
  /** Empty: both. */
  direction?: Direction;
  /** Throughput only. */
  measure?: Measure;
  /** Throughput only: one line for each combination of these. Empty: one line. */
  groupBy?: string[];
}

/** Settings that anybody who may see the data source may see. */
export interface TrafficOptions extends DataSourceJsonData {
  /** host, host:port or the folder of a Unix socket */
  dbHost?: string;
  dbName?: string;
  dbUser?: string;
  sslMode?: SslMode;
  archiveUrl?: string;
  natsUrl?: string;
}

export type SslMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

/** Settings that never come back to the browser. */
export interface TrafficSecrets {
  dbPassword?: string;
}
