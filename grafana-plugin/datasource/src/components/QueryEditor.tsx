import React from 'react';
import type { QueryEditorProps } from '@grafana/data';
import { Combobox, InlineField, InlineFieldRow, Input, MultiCombobox, RadioButtonGroup } from '@grafana/ui';

import type { TrafficDataSource } from '../datasource';
import queryTypes from '../query_types.json';
import type { Direction, Measure, QueryType, TrafficOptions, TrafficQuery } from '../types';

type Props = QueryEditorProps<TrafficDataSource, TrafficQuery, TrafficOptions>;

const labelWidth = 14;

const directions: Array<{ label: string; value: Direction | 'both'; description: string }> = [
  { label: 'Both', value: 'both', description: 'Into and out of the service' },
  { label: 'Inbound', value: 'inbound', description: 'Someone calls the service' },
  { label: 'Outbound', value: 'outbound', description: 'The service calls a dependency' },
];

const measures: Array<{ label: string; value: Measure; description: string }> = [
  { label: 'Requests/s', value: 'requests', description: 'Exchanges begun' },
  { label: 'Errors/s', value: 'errors', description: 'The callee failed or gave no complete answer' },
  { label: 'Error rate', value: 'error_rate', description: 'Share of the exchanges that are errors' },
  { label: 'Request bytes/s', value: 'request_bytes', description: 'Sent by the caller' },
  { label: 'Response bytes/s', value: 'response_bytes', description: 'Sent by the callee' },
];

const groups = ['service', 'direction', 'host', 'method', 'endpoint', 'protocol', 'namespace', 'cluster'].map((value) => ({
  label: value,
  value,
}));

/** What one panel or Explore asks: which exchanges, and lines or numbers. */
export function QueryEditor({ query, onChange, onRunQuery }: Props) {
  const change = (part: Partial<TrafficQuery>) => onChange({ ...query, ...part });
  const changeAndRun = (part: Partial<TrafficQuery>) => {
    change(part);
    onRunQuery();
  };

  return (
    <>
      <InlineFieldRow>
        <InlineField label="Query type" labelWidth={labelWidth}>
          <RadioButtonGroup
            options={queryTypes as Array<{ label: string; value: QueryType; description: string }>}
            value={query.queryType}
            onChange={(queryType) => changeAndRun({ queryType })}
          />
        </InlineField>
        <InlineField label="Direction" labelWidth={labelWidth}>
          <RadioButtonGroup<Direction | 'both'>
            options={directions}
            value={query.direction ?? 'both'}
            onChange={(direction) => changeAndRun({ direction: direction === 'both' ? undefined : direction })}
          />
        </InlineField>
      </InlineFieldRow>
      <InlineFieldRow>
        <InlineField
          label="Selector"
          labelWidth={labelWidth}
          grow
          tooltip='Which exchanges, in the filter language of tapedeck, for example {service="cart" && status>=500 && duration>200ms}. Replays are left out unless you ask for them: replay!=""'
        >
          <Input
            aria-label="Selector"
            spellCheck={false}
            placeholder='{service="cart" && status>=500}'
            value={query.selector ?? ''}
            onChange={(e) => change({ selector: e.currentTarget.value })}
            onBlur={onRunQuery}
            onKeyDown={(e) => e.key === 'Enter' && onRunQuery()}
          />
        </InlineField>
      </InlineFieldRow>
      {query.queryType === 'throughput' && (
        <InlineFieldRow>
          <InlineField label="Measure" labelWidth={labelWidth}>
            <Combobox
              aria-label="Measure"
              width={24}
              options={measures}
              value={query.measure ?? 'requests'}
              onChange={({ value }) => changeAndRun({ measure: value })}
            />
          </InlineField>
          <InlineField label="Group by" labelWidth={labelWidth} tooltip="One line for each combination of these">
            <MultiCombobox
              aria-label="Group by"
              width={40}
              placeholder="one line for all"
              options={groups}
              value={query.groupBy ?? []}
              onChange={(chosen) => changeAndRun({ groupBy: chosen.map(({ value }) => value) })}
            />
          </InlineField>
        </InlineFieldRow>
      )}
    </>
  );
}
