// What the dashboard has to be: Grafana's own types, with the options of each kind of panel that it
// uses. JSON has no enums, so each of theirs is the text or the number that it stands for.

import type {
  Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel, AnnotationQuery, VariableModel,
} from '@grafana/schema';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends Array<infer Item>
      ? Plain<Item>[]
      : T extends object
        ? { [Key in keyof T]: Plain<T[Key]> }
        : T;

/** A query as Grafana's Prometheus data source has it; its types are not in this package. */
interface Query {
  refId: string;
  datasource: { type: 'prometheus'; uid: '${datasource}' };
  editorMode: 'code';
  expr: string;
  format: 'time_series' | 'heatmap';
  legendFormat: string;
  range: boolean;
  instant: boolean;
}

/** A panel that says what it shows, in which unit, and from where on that is bad. */
type PanelOf<Type extends string, Options, Custom> = Omit<
  Panel,
  'type' | 'options' | 'fieldConfig' | 'targets'
> &
  Required<Pick<Panel, 'id' | 'title' | 'description' | 'gridPos' | 'datasource'>> & {
    type: Type;
    options: Options;
    targets: Query[];
    fieldConfig: Omit<FieldConfigSource, 'defaults'> & {
      defaults: Omit<FieldConfig, 'custom'> &
        Required<Pick<FieldConfig, 'unit' | 'thresholds'>> & { custom?: Custom };
    };
  };

type AnyPanel =
  | PanelOf<'stat', stat.Options, never>
  | PanelOf<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | PanelOf<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | RowPanel;

/** An annotation by a query; the two formats are the data source's. */
type Annotation = AnnotationQuery<{ refId: string; expr: string }> & {
  titleFormat: string;
  textFormat: string;
};

export type TidegateDashboard = Plain<
  Omit<Dashboard, 'panels' | 'annotations' | 'templating'> & {
    uid: 'tidegate';
    annotations: { list: Annotation[] };
    templating: { list: VariableModel[] };
    panels: AnyPanel[];
  }
>;
