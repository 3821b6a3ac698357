package plugin

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/resource/httpadapter"
	"github.com/grafana/grafana-plugin-sdk-go/experimental/concurrent"
	"golang.org/x/sync/singleflight"

	"tapedeck/indexer/traffic"
)

// ID is the plugin's id in plugin.json.
const ID = "tapedeck-traffic-datasource"

const (
	parallel = 4               // queries of one request that run at the same time
	patience = 5 * time.Second // with a part that does not answer
)

// DataSource answers for one data source of one Grafana. Grafana makes a new
// one when its settings change and disposes of the old one.
type DataSource struct {
	settings Settings
	broken   error // what is wrong with the settings
	links    links
	queries  *datasource.QueryTypeMux
	backend.CallResourceHandler

	index   atomic.Pointer[traffic.Reader] // nil until the database first answered
	opening singleflight.Group
	alive   context.Context // ends with Dispose
	end     context.CancelCauseFunc
}

var errDisposed = errors.New("the settings of this data source have changed: ask again")

var (
	_ backend.QueryDataHandler      = (*DataSource)(nil)
	_ backend.CheckHealthHandler    = (*DataSource)(nil)
	_ backend.CallResourceHandler   = (*DataSource)(nil)
	_ instancemgmt.InstanceDisposer = (*DataSource)(nil)
)

// New makes a data source. It does not connect, and it does not fail on wrong
// settings: the health check and every query say what is wrong in words.
func New(_ context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
	d := &DataSource{queries: datasource.NewQueryTypeMux()}
	d.alive, d.end = context.WithCancelCause(context.Background())
	d.settings, d.broken = readSettings(s)
	d.links = links{s.UID, s.Name, d.settings.TracesUID, d.settings.TracesType}
	for name, v := range views {
		d.queries.HandleFunc(name, each(d.answer(v)))
	}
	d.queries.HandleFunc("", each(unknownType))
	d.CallResourceHandler = httpadapter.New(d.resources())
	return d, nil
}

// each answers the queries of a request side by side.
func each(answer concurrent.QueryDataFunc) backend.QueryDataHandlerFunc {
	return func(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
		answer := answer // what one request needs is not for the next
		if _, rule := req.Headers[backend.FromAlertHeaderName]; rule {
			answer = withoutVariables(answer)
		}
		return concurrent.QueryData(ctx, req, answer, parallel)
	}
}

// QueryData answers the queries of a panel, of Explore or of an alert rule.
func (d *DataSource) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	return d.queries.QueryData(ctx, req)
}

// reader connects when it is first needed, and again after a failure: Grafana
// may be up long before its database. Queries that come while it connects
// share the attempt.
func (d *DataSource) reader(ctx context.Context) (*traffic.Reader, error) {
	if d.broken != nil {
		return nil, d.broken
	}
	if index := d.index.Load(); index != nil {
		return index, nil
	}
	select {
	case opened := <-d.opening.DoChan("", d.open):
		if opened.Err != nil {
			return nil, opened.Err
		}
		return opened.Val.(*traffic.Reader), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *DataSource) open() (any, error) {
	if d.alive.Err() != nil {
		return nil, context.Cause(d.alive)
	}
	ctx, cancel := context.WithTimeout(d.alive, patience)
	defer cancel()
	index, err := traffic.OpenReader(ctx, d.settings.dsn())
	if err != nil {
		return nil, err
	}
	d.index.Store(index)
	// Dispose ends alive before it looks for an index: one of the two sees this one.
	if d.alive.Err() != nil && d.index.CompareAndSwap(index, nil) {
		index.Close()
		return nil, context.Cause(d.alive)
	}
	return index, nil
}

// Dispose closes the connections once the queries in hand gave them back.
func (d *DataSource) Dispose() {
	d.end(errDisposed)
	if index := d.index.Swap(nil); index != nil {
		index.Close()
	}
}
