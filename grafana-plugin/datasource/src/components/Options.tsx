import React from 'react';
import { Combobox, InlineField, Input, MultiCombobox } from '@grafana/ui';

import { type Choice, groupsOf, measuresOf, orders, percentiles, variableKeys } from '../fields';
import type { TrafficQuery } from '../types';

export const labelWidth = 14;

export interface OptionProps {
  query: TrafficQuery;
  change: (part: Partial<TrafficQuery>) => void;
  run: () => void;
}

/** Ties a label to its field, in each of the editors of a page. */
export const idOf = (query: TrafficQuery, field: string) => `tapedeck-${query.refId}-${field}`;

const asChoice = (value: string): Choice => ({ value, label: value });

/** A text that is run on Enter and on leaving, not while it is typed. */
export function TextOption({
  name,
  label,
  placeholder,
  tooltip,
  query,
  change,
  run,
}: OptionProps & {
  name: 'selector' | 'exchange' | 'trace' | 'session' | 'scenario';
  label: string;
  placeholder: string;
  tooltip?: string;
}) {
  return (
    <InlineField label={label} labelWidth={labelWidth} grow tooltip={tooltip}>
      <Input
        aria-label={label}
        spellCheck={false}
        placeholder={placeholder}
        value={query[name] ?? ''}
        onChange={(e) => change({ [name]: e.currentTarget.value })}
        onBlur={run}
        onKeyDown={(e) => e.key === 'Enter' && run()}
      />
    </InlineField>
  );
}

/** One of a few; the first is the default. */
export function ChoiceOption({
  name,
  label,
  choices,
  query,
  change,
  run,
}: OptionProps & { name: 'measure' | 'orderBy'; label: string; choices: Choice[] }) {
  return (
    <InlineField label={label} labelWidth={labelWidth} htmlFor={idOf(query, name)}>
      <Combobox
        id={idOf(query, name)}
        width={24}
        options={choices}
        value={query[name] ?? choices[0].value}
        onChange={({ value }) => {
          change({ [name]: value });
          run();
        }}
      />
    </InlineField>
  );
}

export const MeasureOption = (props: OptionProps) => (
  <ChoiceOption name="measure" label="Measure" choices={measuresOf[props.query.queryType] ?? []} {...props} />
);

export const OrderOption = (props: OptionProps) => <ChoiceOption name="orderBy" label="Order by" choices={orders} {...props} />;

export function GroupOption({ query, change, run }: OptionProps) {
  return (
    <InlineField label="Group by" labelWidth={labelWidth} tooltip="One line or row for each combination of these">
      <MultiCombobox
        aria-label="Group by"
        width={40}
        placeholder={query.queryType === 'top' ? 'service, method, endpoint' : 'one line for all'}
        options={groupsOf(query.queryType).map(asChoice)}
        value={query.groupBy ?? []}
        onChange={(chosen) => {
          change({ groupBy: chosen.map(({ value }) => value) });
          run();
        }}
      />
    </InlineField>
  );
}

export function PercentilesOption({ query, change, run }: OptionProps) {
  return (
    <InlineField label="Percentiles" labelWidth={labelWidth} tooltip="100 is the longest">
      <MultiCombobox
        aria-label="Percentiles"
        width={30}
        placeholder="50, 95, 99"
        options={percentiles.map(asChoice)}
        value={(query.percentiles ?? []).map(String)}
        onChange={(chosen) => {
          change({ percentiles: chosen.map(({ value }) => Number(value)).sort((a, b) => a - b) });
          run();
        }}
      />
    </InlineField>
  );
}

export function LimitOption({ query, change, run }: OptionProps) {
  return (
    <InlineField label="Limit" labelWidth={labelWidth} tooltip="Rows">
      <Input
        aria-label="Limit"
        type="number"
        min={1}
        max={1000}
        width={12}
        placeholder="as usual"
        value={query.limit ?? ''}
        onChange={(e) => change({ limit: Number(e.currentTarget.value) || undefined })}
        onBlur={run}
        onKeyDown={(e) => e.key === 'Enter' && run()}
      />
    </InlineField>
  );
}

export function KeyOption({ query, change, run }: OptionProps) {
  return (
    <InlineField
      label="Values of"
      labelWidth={labelWidth}
      htmlFor={idOf(query, 'key')}
      tooltip="A key of the selector, tag.NAME, or scenario"
    >
      <Combobox
        id={idOf(query, 'key')}
        width={24}
        createCustomValue
        options={variableKeys.map(asChoice)}
        value={query.key ?? null}
        onChange={({ value }) => {
          change({ key: value });
          run();
        }}
      />
    </InlineField>
  );
}
