package traffic

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// Statements are what views asked the database, for people who want to see it.
// Values are bound, so they stand apart from the text.
type Statements struct {
	mu   sync.Mutex
	list []string
}

type statementsKey struct{}

// Bounds of what is kept: a view has fewer statements, a selector fewer values.
const (
	maxStatements = 20
	maxShown      = 200 // bytes of one value
)

// WithStatements keeps the statements of every view that is given the context.
func WithStatements(ctx context.Context) (context.Context, *Statements) {
	s := &Statements{}
	return context.WithValue(ctx, statementsKey{}, s), s
}

func (s *Statements) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.list, "\n\n")
}

// keep is called for each statement before it is sent.
func keep(ctx context.Context, sql string, args []any) {
	s, _ := ctx.Value(statementsKey{}).(*Statements)
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == maxStatements {
		return
	}
	var b strings.Builder
	b.WriteString(sql)
	for i, arg := range args {
		fmt.Fprintf(&b, "\n-- $%d = %s", i+1, shown(arg))
	}
	s.list = append(s.list, b.String())
}

// shown is a bound value on one line. Of lists only the length is of interest:
// they are the ids of endpoints.
func shown(arg any) string {
	if v := reflect.ValueOf(arg); v.Kind() == reflect.Slice {
		return fmt.Sprintf("%d values", v.Len())
	}
	line := fmt.Sprint(arg)
	if text, ok := arg.(string); ok {
		line = fmt.Sprintf("%q", text)
	}
	return line[:min(len(line), maxShown)]
}
