package traffic

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

const rowColumns = "x.time, x.id, x.duration_us, x.ttfb_us, x.request_bytes, x.response_bytes, x.span, x.parent_span, " +
	"x.tape, x.connection, x.session, x.trace, x.cause, x.block, x.position, x.flags, x.cause_confidence, x.class, " +
	"x.status, x.path, x.peer, x.replay_id, x.tags, " +
	"e.replay, e.direction, e.cluster, e.namespace, e.service, e.protocol, e.host, e.method, e.template, w.version, w.instance"

// scanRow reads rowColumns and, behind them, more.
func scanRow(row pgx.CollectableRow, r *events.Row, more ...any) error {
	var durationMicros, ttfbMicros int64
	var span, parentSpan *int64
	var connection, session, trace, cause *[16]byte
	var block, position, flags int32
	var class int16
	var replayID *string
	var tags []byte
	var direction string
	err := row.Scan(append([]any{
		&r.Time, (*[16]byte)(&r.ID), &durationMicros, &ttfbMicros, &r.RequestBytes, &r.ResponseBytes, &span, &parentSpan,
		(*[16]byte)(&r.Tape), &connection, &session, &trace, &cause, &block, &position, &flags, &r.CauseConfidence, &class,
		&r.Status, &r.Path, &r.Peer, &replayID, &tags,
		&r.Replay, &direction, &r.Cluster, &r.Namespace, &r.Service, &r.Protocol, &r.Host, &r.Method, &r.Template, &r.Version, &r.Instance,
	}, more...)...)
	if err != nil {
		return err
	}
	r.Kind, r.Time = events.Kind_EXCHANGE, r.Time.UTC()
	r.Duration, r.TTFB = time.Duration(durationMicros)*time.Microsecond, time.Duration(ttfbMicros)*time.Microsecond
	r.Block, r.Position, r.Flags, r.Class = uint32(block), uint32(position), uint32(flags), events.StatusClass(class)
	r.Direction, _ = events.ParseDirection(direction) // the table's check holds it
	r.Span, r.ParentSpan = spanOf(span), spanOf(parentSpan)
	r.Connection, r.Session = events.ID(valueOf(connection)), events.SessionID(valueOf(session))
	r.Trace, r.Cause = events.TraceID(valueOf(trace)), events.ID(valueOf(cause))
	r.ReplayID = valueOf(replayID)
	r.Tags, err = tagsOf(tags)
	return err
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func spanOf(p *int64) (s events.SpanID) {
	binary.BigEndian.PutUint64(s[:], uint64(valueOf(p)))
	return s
}

// tagsOf reads tags in the order of their keys: jsonb keeps no other.
func tagsOf(b []byte) ([]*events.Tag, error) {
	if b == nil {
		return nil, nil
	}
	values := map[string]string{}
	if err := json.Unmarshal(b, &values); err != nil {
		return nil, fmt.Errorf("read tags: %w", err)
	}
	var tags []*events.Tag
	for k, v := range values {
		tags = append(tags, &events.Tag{Key: k, Value: v})
	}
	sortTags(tags)
	return tags, nil
}

func sortTags(tags []*events.Tag) {
	slices.SortFunc(tags, func(a, b *events.Tag) int { return strings.Compare(a.Key, b.Key) })
}

// rowsFrom selects rows of exchanges or open_exchanges.
func rowsFrom(table string) sq.SelectBuilder {
	return dollar.Select(rowColumns).From(table + " x").
		Join(endpointSource + " e on e.id = x.endpoint_id").
		Join("workloads w on w.id = x.workload_id")
}

// openSource reads as exchanges does. What has not ended has not failed.
var openSource = "(select " + strings.Replace(exchangeColumns, " class,", " case when class = 4 then 0::int2 else class end as class,", 1) +
	" from open_exchanges)"

// openRows selects the newest state of each open exchange that has no row of
// its own yet.
func openRows() sq.SelectBuilder {
	return rowsFrom(openSource).
		Where("not exists (select from exchanges n where n.time = x.time and n.id = x.id)").
		Where("not exists (select from open_exchanges n where n.time = x.time and n.id = x.id and n.tape > x.tape)")
}
