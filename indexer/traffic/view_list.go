package traffic

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// ListQuery asks for a page of exchanges.
type ListQuery struct {
	Query
	// Text is looked for in the path; the case of a to z is ignored.
	Text string
	// Oldest asks for the oldest first; otherwise the newest come first.
	Oldest bool
	// Cursor continues behind a place: a page's Next.
	Cursor Cursor
	// Limit is the length of the page: default 100, at most 1000.
	Limit int
}

// Bounds of a page.
const (
	DefaultPage = 100
	MaxPage     = 1000
	maxText     = 200
)

// Page is a part of the list. Exchanges that are still open are in it until
// they have ended.
type Page struct {
	Exchanges []events.Row `json:"exchanges"`
	// Next continues behind this page; zero when there is nothing behind it.
	Next Cursor `json:"next,omitzero"`
	// Searched is how far the search went, in the list's direction. Without
	// Next it is the end of the range; with Next and a page that is not full,
	// the search was stopped there for taking too long.
	Searched time.Time `json:"searched,omitzero"`
}

// Cursor is a place in the list: behind the exchange of that time and id, in
// the direction of the list. Its text is opaque to users.
type Cursor struct {
	Time time.Time
	ID   events.ID
}

// IsZero says that the cursor is at the list's beginning.
func (c Cursor) IsZero() bool { return c.Time.IsZero() }

// After is the cursor behind a row.
func After(r *events.Row) Cursor { return Cursor{r.Time, r.ID} }

func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	return strconv.FormatInt(c.Time.UnixMicro(), 10) + "_" + c.ID.String()
}

// ParseCursor reads a cursor as String writes it.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	micros, id, _ := strings.Cut(s, "_")
	n, err := strconv.ParseInt(micros, 10, 64)
	// The range of what PostgreSQL and Go both take, roughly.
	if err != nil || n <= minMicros || n > maxMicros {
		return Cursor{}, queryError("%.60q is no cursor", s)
	}
	parsed, err := events.ParseID(id)
	if err != nil {
		return Cursor{}, queryError("%.60q is no cursor", s)
	}
	return Cursor{time.UnixMicro(n).UTC(), parsed}, nil
}

// The years 0 to 9999, in Unix µs.
const (
	minMicros = -62_135_596_800_000_000
	maxMicros = 253_402_300_800_000_000
)

// MarshalText writes the cursor as String does.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the cursor as ParseCursor does.
func (c *Cursor) UnmarshalText(b []byte) (err error) {
	*c, err = ParseCursor(string(b))
	return err
}

// compareRows orders by time and id; PostgreSQL orders uuid by bytes as well.
func compareRows(a, b *events.Row) int {
	return cmp.Or(a.Time.Compare(b.Time), bytes.Compare(a.ID[:], b.ID[:]))
}

// behind says whether the row comes after the cursor in the list.
func (q *ListQuery) behind(r *events.Row) bool {
	if q.Cursor.IsZero() {
		return true
	}
	order := compareRows(r, &events.Row{Time: q.Cursor.Time, ID: q.Cursor.ID})
	if q.Oldest {
		return order > 0
	}
	return order < 0
}

// check fills in defaults and refuses what can't be asked.
func (q *ListQuery) check() error {
	if len(q.Text) > maxText {
		return queryError("the text has %d bytes, at most %d are looked for", len(q.Text), maxText)
	}
	if q.Limit < 0 {
		return queryError("the limit %d is negative", q.Limit)
	}
	if q.Limit == 0 {
		q.Limit = DefaultPage
	}
	q.Limit = min(q.Limit, MaxPage)
	return nil
}

// filter is the selector with the text, and without replays unless it
// mentions them.
func (q *ListQuery) filter() (*selector.Expr, error) {
	e := selector.ExcludeReplays(q.Selector)
	if q.Text == "" {
		return e, nil
	}
	pattern := `(?i).*` + regexp.QuoteMeta(q.Text) + `.*`
	contains, err := selector.Matching(selector.Path, pattern)
	if err != nil {
		return nil, fmt.Errorf("%w: text: %w", ErrQuery, err)
	}
	return selector.Join(e, contains), nil
}
