import type { AdHocVariableFilter, DataSourceJsonData } from '@grafana/data';
import type { DataQuery } from '@grafana/schema';

export type QueryType =
  | 'traffic'
  | 'exchange'
  | 'throughput'
  | 'errors'
  | 'latency'
  | 'heatmap'
  | 'top'
  | 'service_map'
  | 'dependencies'
  | 'sequence'
  | 'values'
  | 'pipeline'
  | 'scenarios'
  | 'replays';

export type Direction = 'inbound' | 'outbound';

/** The query as dashboards store it and the backend reads it; see fields.ts for which type reads what. */
export interface TrafficQuery extends DataQuery {
  queryType: QueryType;
  /** The filter language of tapedeck: {service="cart" && status>=500}. Empty: everything but replays. */
  selector?: string;
  /** Empty: both. */
  direction?: Direction;
  /** Ad-hoc filters of the dashboard, filled in when the query is sent. */
  filters?: AdHocVariableFilter[];
  /** What is counted; the first that the editor offers is the default. */
  measure?: string;
  /** One line or row for each combination of these. Empty: what is usual. */
  groupBy?: string[];
  /** 50, 99.9, …; 100 is the longest. Empty: 50, 95 and 99. */
  percentiles?: number[];
  /** What a ranking goes by. */
  orderBy?: string;
  limit?: number;
  /** The id of an exchange. */
  exchange?: string;
  trace?: string;
  session?: string;
  /** Whose values are listed: a key of the selector, or scenario. */
  key?: string;
  /** The name of a scenario. Empty: all. */
  scenario?: string;
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
  /** Of the data source that has the traces of the applications. */
  tracesUid?: string;
  /** Default tempo. */
  tracesType?: TracesType;
}

export type TracesType = 'tempo' | 'jaeger';

export type SslMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

/** Settings that never come back to the browser. */
export interface TrafficSecrets {
  dbPassword?: string;
}
