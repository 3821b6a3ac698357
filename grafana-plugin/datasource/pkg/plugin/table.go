package plugin

import (
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/indexer/traffic"
)

// table is a frame of rows. Texts say what a row is about and numbers how much:
// alert rules take each number with the texts as its labels.
func table(notice string, fields ...*data.Field) *data.Frame {
	frame := data.NewFrame("", fields...)
	frame.Meta = &data.FrameMeta{
		Type: data.FrameTypeNumericLong, TypeVersion: data.FrameTypeVersion{0, 1}, PreferredVisualization: data.VisTypeTable,
	}
	warn(frame, notice)
	return frame
}

// column is a field made of rows.
func column[Row, Value any](name, unit string, rows []Row, of func(*Row) Value) *data.Field {
	list := make([]Value, len(rows))
	for i := range rows {
		list[i] = of(&rows[i])
	}
	return data.NewField(name, nil, list).SetConfig(&data.FieldConfig{Unit: unit})
}

// linked gives a column links.
func linked(field *data.Field, to ...data.DataLink) *data.Field {
	field.Config.Links = to
	return field
}

// numbers are the columns that every table of exchanges has.
func numbers[Row any](rows []Row, seconds float64, totals func(*Row) *traffic.Totals, took func(*Row) *traffic.Quantiles) []*data.Field {
	count := func(name string, of func(*traffic.Totals) int64) *data.Field {
		return column(name, "short", rows, func(r *Row) float64 { return float64(of(totals(r))) })
	}
	size := func(name string, of func(*traffic.Totals) int64) *data.Field {
		return column(name, "bytes", rows, func(r *Row) float64 { return float64(of(totals(r))) })
	}
	return []*data.Field{
		count("requests", func(t *traffic.Totals) int64 { return t.Requests }),
		column("rate", "reqps", rows, func(r *Row) float64 { return float64(totals(r).Requests) / seconds }),
		count("errors", func(t *traffic.Totals) int64 { return t.Errors() }),
		column("error_rate", "percentunit", rows, func(r *Row) *float64 { return share(totals(r).Errors(), totals(r).Requests) }),
		column("p50", "ms", rows, func(r *Row) float64 { return millis(took(r).P50) }),
		column("p90", "ms", rows, func(r *Row) float64 { return millis(took(r).P90) }),
		column("p95", "ms", rows, func(r *Row) float64 { return millis(took(r).P95) }),
		column("p99", "ms", rows, func(r *Row) float64 { return millis(took(r).P99) }),
		column("max", "ms", rows, func(r *Row) float64 { return millis(totals(r).Max) }),
		size("request_bytes", func(t *traffic.Totals) int64 { return t.RequestBytes }),
		size("response_bytes", func(t *traffic.Totals) int64 { return t.ResponseBytes }),
	}
}
