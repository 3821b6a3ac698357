package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"tapedeck/cli/demo"
	"tapedeck/events"
)

// link is an outbound exchange with what its tape says of its cause.
type link struct {
	*recorded
	truth   *recorded
	right   bool
	content bool // that the truth is one is shown by what both say, too
}

// key is a trace in one service.
type key struct {
	service string
	trace   events.TraceID
}

// judge finds the truth of each outbound exchange: the one inbound exchange of
// its service that is of its trace. It fails where that can't be: two of them
// or none, a call that begins outside of its cause's time, or a call that asks for
// something else than its cause.
func judge(rows []recorded) ([]link, error) {
	truth := map[key]*recorded{}
	for i := range rows {
		r := &rows[i]
		if r.Row.Direction != events.Direction_INBOUND || r.Service == "catalog" { // it calls nobody
			continue
		}
		k := key{r.Service, r.Trace}
		if truth[k] != nil {
			return nil, fmt.Errorf("two inbound exchanges of %s in trace %s: there is no truth", r.Service, r.Trace)
		}
		truth[k] = r
	}
	var links []link
	for i := range rows {
		r := &rows[i]
		if r.Row.Direction != events.Direction_OUTBOUND {
			continue
		}
		l := link{recorded: r, truth: truth[key{r.Service, r.Trace}]}
		if l.truth == nil {
			return nil, fmt.Errorf("no inbound exchange of %s in trace %s: there is no truth", r.Service, r.Trace)
		}
		if err := l.check(); err != nil {
			return nil, err
		}
		l.right = r.Cause == l.truth.ID
		links = append(links, l)
	}
	if len(links) == 0 {
		return nil, fmt.Errorf("nothing to judge: %d exchanges, none outbound", len(rows))
	}
	return links, nil
}

// check holds the truth against times and contents.
func (l *link) check() error {
	// Only its beginning: the end of a chunked answer may be read after the one
	// that was made of it has gone out.
	if l.Time.Before(l.truth.Time) || l.Time.After(l.truth.Time.Add(l.truth.Duration)) {
		return fmt.Errorf("%s %s is not within its trace's %s %s", l.Method, l.Path, l.truth.Method, l.truth.Path)
	}
	same := true
	switch path := l.truth.Path; {
	case l.Path == "/v1/charges":
		var charge, order struct{ Reference, ID string }
		json.Unmarshal(l.Request.Body.Data, &charge)
		json.Unmarshal(l.truth.Response.GetBody().GetData(), &order)
		same = charge.Reference == order.ID || l.truth.Status != "201"
		l.content = l.truth.Status == "201"
	case strings.HasPrefix(path, "/products") || strings.HasPrefix(path, "/orders/"):
		same, l.content = l.Request.Target == l.truth.Request.Target, true
	case path == "/cart/items" || l.Service == "orders":
		_, sku, _ := strings.Cut(l.Path, "/products/")
		same, l.content = strings.Contains(string(l.truth.Request.Body.Data), `"`+sku+`"`), true
	}
	if !same {
		return fmt.Errorf("%s %s asks for something else than its trace's %s %s", l.Method, l.Request.Target, l.truth.Method, l.truth.Request.Target)
	}
	return nil
}

// share is right out of all, in the links of at least some confidence.
func share(links []link, least float32) (told, right int) {
	for _, l := range links {
		if l.CauseConfidence >= least && !l.Cause.IsZero() {
			told++
			if l.right {
				right++
			}
		}
	}
	return told, right
}

func report(links []link) {
	shown := 0
	for _, l := range links {
		if l.content {
			shown++
		}
	}
	fmt.Printf("%d outbound exchanges; the truth of %d is shown by contents as well; open at once when they began: %s\n", len(links), shown, crowding(links))
	fmt.Printf("%-12s %8s %10s %8s\n", "confidence", "links", "precision", "recall")
	for _, least := range []float32{0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99} {
		told, right := share(links, least)
		fmt.Printf(">= %-9.2f %8d %10.4f %8.4f\n", least, told, float64(right)/float64(max(told, 1)), float64(right)/float64(len(links)))
	}
	fmt.Printf("%-12s %8s %10s\n", "said", "links", "true")
	for _, from := range []float32{0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99} {
		to := map[float32]float32{0.5: 0.6, 0.6: 0.7, 0.7: 0.8, 0.8: 0.9, 0.9: 0.95, 0.95: 0.99, 0.99: 2}[from]
		toldFrom, rightFrom := share(links, from)
		toldTo, rightTo := share(links, to)
		fmt.Printf("%.2f..%-7.2f %8d %10.4f\n", from, min(to, 1), toldFrom-toldTo, float64(rightFrom-rightTo)/float64(max(toldFrom-toldTo, 1)))
	}
	byEndpoint(links)
}

// byEndpoint says where links are missing and wrong.
func byEndpoint(links []link) {
	groups := map[string][]link{}
	for _, l := range links {
		name := fmt.Sprintf("%s: %s %s -> %s %s", l.Service, l.truth.Method, l.truth.Template, l.Method, l.Template)
		groups[name] = append(groups[name], l)
	}
	var names []string
	for name := range groups {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Printf("%-70s %8s %10s %8s   at >= 0.90\n", "cause -> call", "calls", "precision", "recall")
	for _, name := range names {
		told, right := share(groups[name], 0.9)
		fmt.Printf("%-70s %8d %10.4f %8.4f\n", name, len(groups[name]), float64(right)/float64(max(told, 1)), float64(right)/float64(len(groups[name])))
	}
}

// crowding is how many inbound exchanges of the service were open when a call
// began, of those that call somebody.
func crowding(links []link) string {
	var open []int
	for i := 0; i < len(links); i += 1 + len(links)/500 {
		l := links[i]
		there := map[events.ID]bool{}
		for _, other := range links {
			c := other.truth
			if c.Service == l.Service && !c.Time.After(l.Time) && c.Time.Add(c.Duration).After(l.Time) {
				there[c.ID] = true
			}
		}
		open = append(open, len(there))
	}
	slices.Sort(open)
	return fmt.Sprintf("%d (median), %d (most)", open[len(open)/2], open[len(open)-1])
}

// sameForAll sends the demo's own visits, by as many at once.
func sameForAll(ctx context.Context, base string, visitors, rounds int) error {
	group, ctx := errgroup.WithContext(ctx)
	for range (visitors + 2) / 3 { // three customers each
		group.Go(func() error {
			_, err := demo.Drive(ctx, base, rounds)
			return err
		})
	}
	return group.Wait()
}
