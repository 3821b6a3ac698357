import React from 'react';
import type { QueryEditorProps } from '@grafana/data';
import { Combobox, InlineField, InlineFieldRow, RadioButtonGroup } from '@grafana/ui';

import {
  GroupOption,
  idOf,
  KeyOption,
  labelWidth,
  LimitOption,
  MeasureOption,
  type OptionProps,
  OrderOption,
  PercentilesOption,
  TextOption,
} from './Options';
import type { TrafficDataSource } from '../datasource';
import { type Field, fieldsOf } from '../fields';
import queryTypes from '../query_types.json';
import type { Direction, QueryType, TrafficOptions, TrafficQuery } from '../types';

type Props = QueryEditorProps<TrafficDataSource, TrafficQuery, TrafficOptions>;

const directions: Array<{ label: string; value: Direction | 'both'; description: string }> = [
  { label: 'Both', value: 'both', description: 'Into and out of the service' },
  { label: 'Inbound', value: 'inbound', description: 'Someone calls the service' },
  { label: 'Outbound', value: 'outbound', description: 'The service calls a dependency' },
];

/** What one panel or Explore asks: a query type, and what that type reads. */
export function QueryEditor({ query, onChange, onRunQuery }: Props) {
  const change = (part: Partial<TrafficQuery>) => onChange({ ...query, ...part });
  const changeAndRun = (part: Partial<TrafficQuery>) => {
    change(part);
    onRunQuery();
  };
  const reads = (field: Field) => fieldsOf[query.queryType]?.includes(field);
  const option: OptionProps = { query, change, run: onRunQuery };

  return (
    <>
      <InlineFieldRow>
        <InlineField label="Query type" labelWidth={labelWidth} htmlFor={idOf(query, 'type')}>
          <Combobox<QueryType>
            id={idOf(query, 'type')}
            width={30}
            options={queryTypes as Array<{ label: string; value: QueryType; description: string }>}
            value={query.queryType}
            // What another type counts is nothing to this one.
            onChange={({ value }) => changeAndRun({ queryType: value, measure: undefined })}
          />
        </InlineField>
        {reads('direction') && (
          <InlineField label="Direction" labelWidth={labelWidth}>
            <RadioButtonGroup<Direction | 'both'>
              options={directions}
              value={query.direction ?? 'both'}
              onChange={(direction) => changeAndRun({ direction: direction === 'both' ? undefined : direction })}
            />
          </InlineField>
        )}
        {reads('key') && <KeyOption {...option} />}
      </InlineFieldRow>
      {reads('selector') && (
        <InlineFieldRow>
          <TextOption
            name="selector"
            label="Selector"
            placeholder='{service="cart" && status>=500}'
            tooltip='Which exchanges, in the filter language of tapedeck, for example {service="cart" && status>=500 && duration>200ms}. Replays are left out unless you ask for them: replay!=""'
            {...option}
          />
        </InlineFieldRow>
      )}
      <InlineFieldRow>
        {reads('trace') && <TextOption name="trace" label="Trace" placeholder="32 hex digits" {...option} />}
        {reads('session') && <TextOption name="session" label="Session" placeholder="32 hex digits" {...option} />}
        {reads('exchange') && <TextOption name="exchange" label="Exchange" placeholder="id" {...option} />}
        {reads('scenario') && <TextOption name="scenario" label="Scenario" placeholder="all" {...option} />}
        {reads('measure') && <MeasureOption {...option} />}
        {reads('percentiles') && <PercentilesOption {...option} />}
        {reads('groupBy') && <GroupOption {...option} />}
        {reads('orderBy') && <OrderOption {...option} />}
        {reads('limit') && <LimitOption {...option} />}
      </InlineFieldRow>
    </>
  );
}
