import {
  type AdHocVariableFilter,
  type AnnotationSupport,
  CoreApp,
  type DataFrame,
  type DataSourceGetTagKeysOptions,
  type DataSourceGetTagValuesOptions,
  type DataSourceInstanceSettings,
  DataSourceVariableSupport,
  type MetricFindValue,
  type QueryFixAction,
  type ScopedVars,
  type TimeRange,
} from '@grafana/data';
import { DataSourceWithBackend, getTemplateSrv } from '@grafana/runtime';

import { withCondition } from './selector';
import { insideQuotes } from './variables';
import type { TrafficOptions, TrafficQuery } from './types';

/** Headings in the details of a log line, by the label types the backend sends. */
const labelHeadings: Record<string, string> = { E: 'Endpoint', W: 'Workload', X: 'Exchange', T: 'Tags' };

/** The keys of labels that a selector knows, tags aside. */
const selectorKeys = new Set(
  'cluster namespace service version direction protocol host method path endpoint status class session trace replay'.split(' ')
);

/** Texts of a query that are one value, which a template variable may be. */
const plainTexts = ['direction', 'measure', 'orderBy', 'exchange', 'trace', 'session', 'key', 'scenario'] as const;

/** Template variables use the query editor: they list the values of a key. */
class TrafficVariables extends DataSourceVariableSupport<TrafficDataSource, TrafficQuery, TrafficOptions> {
  getDefaultQuery(): Partial<TrafficQuery> {
    return { queryType: 'values', key: 'service' };
  }
}

/** Asks the backend; only template variables are the browser's business. */
export class TrafficDataSource extends DataSourceWithBackend<TrafficQuery, TrafficOptions> {
  annotations: AnnotationSupport<TrafficQuery> = { getDefaultQuery: () => ({ queryType: 'replays' }) };

  constructor(settings: DataSourceInstanceSettings<TrafficOptions>) {
    super(settings);
    this.variables = new TrafficVariables();
  }

  /** Explore shows lines; a new panel or an alert rule begins with numbers over time. */
  getDefaultQuery(app: CoreApp): Partial<TrafficQuery> {
    return app === CoreApp.Explore ? { queryType: 'traffic' } : { queryType: 'throughput' };
  }

  /** A query about one thing is asked once it is named. */
  filterQuery(query: TrafficQuery): boolean {
    switch (query.queryType) {
      case 'exchange':
        return Boolean(query.exchange);
      case 'sequence':
        return Boolean(query.trace || query.session || query.exchange);
      case 'values':
        return Boolean(query.key);
    }
    return true;
  }

  applyTemplateVariables(query: TrafficQuery, scopedVars: ScopedVars, filters?: AdHocVariableFilter[]): TrafficQuery {
    const templates = getTemplateSrv();
    const filled: TrafficQuery = { ...query };
    if (query.selector) {
      filled.selector = templates.replace(query.selector, scopedVars, insideQuotes);
    }
    for (const name of plainTexts) {
      const text = query[name];
      if (text) {
        Object.assign(filled, { [name]: templates.replace(text, scopedVars) });
      }
    }
    if (query.groupBy) {
      filled.groupBy = query.groupBy.flatMap((key) => templates.replace(key, scopedVars, 'csv').split(','));
    }
    if (filters?.length) {
      filled.filters = [...(query.filters ?? []), ...filters];
    }
    return filled;
  }

  /** Alert rules have no template variables; Grafana asks before it makes one. */
  targetContainsTemplate(query: TrafficQuery): boolean {
    const templates = getTemplateSrv();
    const texts = [query.selector, ...plainTexts.map((name) => query[name]), ...(query.groupBy ?? [])];
    return texts.some((s) => templates.containsTemplate(s));
  }

  getQueryDisplayText(query: TrafficQuery): string {
    const { queryType, direction, selector, exchange, trace, session, key, scenario } = query;
    return [queryType, direction, selector, exchange, trace, session, key, scenario].filter(Boolean).join(' ');
  }

  /** What ad-hoc filters can be about: keys of the selector, and tags. */
  getTagKeys(options?: DataSourceGetTagKeysOptions<TrafficQuery>): Promise<MetricFindValue[]> {
    return this.getResource('keys', inRange(options?.timeRange));
  }

  /** The values of a key among what the other filters leave. */
  getTagValues({ key, filters, timeRange }: DataSourceGetTagValuesOptions<TrafficQuery>): Promise<MetricFindValue[]> {
    return this.getResource('values', { key, filters: JSON.stringify(filters ?? []), ...inRange(timeRange) });
  }

  getSupportedQueryModifications(): string[] {
    return ['ADD_FILTER', 'ADD_FILTER_OUT'];
  }

  /** The filter buttons beside a line's labels narrow the selector. */
  modifyQuery(query: TrafficQuery, { type, options }: QueryFixAction): TrafficQuery {
    const { key, value } = options ?? {};
    const known = selectorKeys.has(key) || key?.startsWith('tag.');
    if (!known || value === undefined || !this.getSupportedQueryModifications().includes(type)) {
      return query;
    }
    return { ...query, selector: withCondition(query.selector, key, type === 'ADD_FILTER' ? '=' : '!=', value) };
  }

  getLabelDisplayTypeFromFrame(label: string, frame: DataFrame | undefined, row: number | null): string | null {
    const types = frame?.fields.find((field) => field.name === 'labelTypes')?.values[row ?? 0];
    return labelHeadings[types?.[label]] ?? null;
  }
}

function inRange(range?: TimeRange): Record<string, number> {
  return range ? { from: range.from.valueOf(), to: range.to.valueOf() } : {};
}
