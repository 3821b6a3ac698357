import { DataSourcePlugin } from '@grafana/data';

import { ConfigEditor } from './components/ConfigEditor';
import { QueryEditor } from './components/QueryEditor';
import { TrafficDataSource } from './datasource';
import type { TrafficOptions, TrafficQuery, TrafficSecrets } from './types';

export const plugin = new DataSourcePlugin<TrafficDataSource, TrafficQuery, TrafficOptions, TrafficSecrets>(
  TrafficDataSource
)
  .setConfigEditor(ConfigEditor)
  .setQueryEditor(QueryEditor);
