package plugin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
)

// maxSources is how many rows the table of sources has.
const maxSources = 1000

// accounts are those of the sources that the selector chooses and that were
// heard of since the range began, newest first.
func accounts(ctx context.Context, index *traffic.Reader, q *question) ([]traffic.Account, error) {
	list, err := index.Audit(ctx, q.TimeRange.From)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(a traffic.Account) bool {
		row := &events.Row{Cluster: a.Cluster, Namespace: a.Namespace, Service: a.Service.Service, Version: a.Version, Instance: a.Instance}
		return !q.expr.Match(row)
	})
	slices.SortStableFunc(list, func(a, b traffic.Account) int { return b.LastTape.Compare(a.LastTape) })
	return list, nil
}

// sources is the account of each source: what it began must be somewhere.
func sources(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	list, err := accounts(ctx, index, q)
	if err != nil {
		return nil, err
	}
	notice := ""
	if more := len(list) - maxSources; more > 0 {
		list, notice = list[:maxSources], fmt.Sprintf("%d more sources are not shown", more)
	}
	type account = traffic.Account
	count := func(name string, of func(*account) int64) *data.Field {
		return column(name, "short", list, func(a *account) float64 { return float64(of(a)) })
	}
	frame := data.NewFrame("",
		column("service", "", list, func(a *account) string { return a.Service.Service }),
		column("instance", "", list, func(a *account) string { return a.Instance }),
		column("version", "", list, func(a *account) string { return a.Version }),
		column("namespace", "", list, func(a *account) string { return a.Namespace }),
		column("cluster", "", list, func(a *account) string { return a.Cluster }),
		column("source", "", list, func(a *account) string { return a.Source.String() }),
		column("last_tape", "", list, func(a *account) time.Time { return a.LastTape }),
		column("ended", "", list, func(a *account) bool { return a.Ended }),
		count("begun", func(a *account) int64 { return a.Begun }),
		count("indexed", func(a *account) int64 { return a.Indexed }),
		count("dropped", func(a *account) int64 { return a.Dropped }),
		count("dead", func(a *account) int64 { return a.Dead }),
		count("open", func(a *account) int64 { return a.Open }),
		count("missing", func(a *account) int64 { return a.Missing }),
		count("unaccounted", func(a *account) int64 { return a.Unaccounted() }),
		count("spooled_tapes", func(a *account) int64 { return a.SpooledTapes }),
		count("unarchived_tapes", func(a *account) int64 { return a.Unarchived }),
	)
	frame.Meta = &data.FrameMeta{Type: data.FrameTypeTable, PreferredVisualization: data.VisTypeTable}
	warn(frame, notice)
	return data.Frames{frame}, nil
}

// freshness is how long before the end of the range the newest tape of each
// service was closed, for alert rules as well: the range's end is their now.
func freshness(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	list, err := accounts(ctx, index, q)
	if err != nil {
		return nil, err
	}
	newest := map[events.Service]time.Time{}
	for _, a := range list {
		if a.LastTape.After(newest[a.Service]) {
			newest[a.Service] = a.LastTape
		}
	}
	services := slices.SortedFunc(maps.Keys(newest), func(a, b events.Service) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Cluster, b.Cluster))
	})
	return data.Frames{table("",
		column("service", "", services, func(s *events.Service) string { return s.Service }),
		column("namespace", "", services, func(s *events.Service) string { return s.Namespace }),
		column("cluster", "", services, func(s *events.Service) string { return s.Cluster }),
		column("age", "s", services, func(s *events.Service) float64 { return max(q.TimeRange.To.Sub(newest[*s]).Seconds(), 0) }),
	)}, nil
}
