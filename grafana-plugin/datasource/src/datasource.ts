import { CoreApp, type DataFrame, type DataSourceInstanceSettings, type ScopedVars } from '@grafana/data';
import { DataSourceWithBackend, getTemplateSrv } from '@grafana/runtime';

import { insideQuotes } from './variables';
import type { Direction, TrafficOptions, TrafficQuery } from './types';

/** Headings in the details of a log line, by the label types the backend sends. */
const labelHeadings: Record<string, string> = { E: 'Endpoint', W: 'Workload', X: 'Exchange', T: 'Tags' };

/** Asks the backend; only template variables are the browser's business. */
export class TrafficDataSource extends DataSourceWithBackend<TrafficQuery, TrafficOptions> {
  constructor(settings: DataSourceInstanceSettings<TrafficOptions>) {
    super(settings);
  }

  /** Explore shows lines; a new panel or an alert rule begins with numbers over time. */
  getDefaultQuery(app: CoreApp): Partial<TrafficQuery> {
    return app === CoreApp.Explore ? { queryType: 'traffic' } : { queryType: 'throughput' };
  }

  applyTemplateVariables(query: TrafficQuery, scopedVars: ScopedVars): TrafficQuery {
    const templates = getTemplateSrv();
    const filled: TrafficQuery = { ...query };
    if (query.selector) {
      filled.selector = templates.replace(query.selector, scopedVars, insideQuotes);
    }
    if (query.direction) {
      filled.direction = templates.replace(query.direction, scopedVars) as Direction;
    }
    if (query.groupBy) {
      filled.groupBy = query.groupBy.flatMap((key) => templates.replace(key, scopedVars, 'csv').split(','));
    }
    return filled;
  }

  /** Alert rules have no template variables; Grafana asks before it makes one. */
  targetContainsTemplate(query: TrafficQuery): boolean {
    const templates = getTemplateSrv();
    return [query.selector, query.direction, ...(query.groupBy ?? [])].some((s) => templates.containsTemplate(s));
  }

  getQueryDisplayText(query: TrafficQuery): string {
    return [query.queryType, query.direction, query.selector].filter(Boolean).join(' ');
  }

  getLabelDisplayTypeFromFrame(label: string, frame: DataFrame | undefined, row: number | null): string | null {
    const types = frame?.fields.find((field) => field.name === 'labelTypes')?.values[row ?? 0];
    return labelHeadings[types?.[label]] ?? null;
  }
}
