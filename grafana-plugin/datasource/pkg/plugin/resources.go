package plugin

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"tapedeck/events/selector"
)

// resources are what the browser's side asks beside queries: the keys and
// values of ad-hoc filters. Like queries they are for everybody who may ask the
// data source.
func (d *DataSource) resources() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", d.tagKeys)
	mux.HandleFunc("GET /values", d.tagValues)
	return mux
}

// text is how Grafana takes names.
type text struct {
	Text string `json:"text"`
}

func texts(list []string) []text {
	named := make([]text, len(list))
	for i, s := range list {
		named[i].Text = s
	}
	return named
}

// tagKeys are the keys of the selector, with the names of tags that were seen.
func (d *DataSource) tagKeys(w http.ResponseWriter, r *http.Request) {
	keys := selector.Keys()
	keys = keys[:len(keys)-1] // the last stands for tags
	tags, err := d.listValues(r, "tag")
	if err != nil {
		refuse(w, err)
		return
	}
	for _, name := range tags {
		keys = append(keys, "tag."+name)
	}
	respond(w, texts(keys))
}

func (d *DataSource) tagValues(w http.ResponseWriter, r *http.Request) {
	list, err := d.listValues(r, r.URL.Query().Get("key"))
	if err != nil {
		refuse(w, err)
		return
	}
	respond(w, texts(list))
}

// listValues reads what getTagKeys and getTagValues send: a range in Unix ms
// and the other filters, which narrow the values.
func (d *DataSource) listValues(r *http.Request, key string) ([]string, error) {
	index, err := d.reader(r.Context())
	if err != nil {
		return nil, d.inWords(err)
	}
	asked, err := readFilters(r)
	if err != nil {
		return nil, err
	}
	asked.Key = key
	list, err := keyValues(r.Context(), index, asked)
	if err != nil {
		return nil, d.inWords(err)
	}
	return list, nil
}

func readFilters(r *http.Request) (*question, error) {
	asked, given := &question{}, r.URL.Query()
	if filters := given.Get("filters"); filters != "" {
		if err := json.Unmarshal([]byte(filters), &asked.Filters); err != nil {
			return nil, badf("read filters: %w", err)
		}
	}
	var err error
	if asked.expr, err = asked.query.expr(); err != nil {
		return nil, badQuery{err}
	}
	for name, at := range map[string]*time.Time{"from": &asked.TimeRange.From, "to": &asked.TimeRange.To} {
		if given.Get(name) == "" {
			continue
		}
		ms, err := strconv.ParseInt(given.Get(name), 10, 64)
		if err != nil {
			return nil, badf("%s=%.40q is no time in Unix ms", name, given.Get(name))
		}
		*at = time.UnixMilli(ms)
	}
	return asked, nil
}

func respond(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer) // a page that is gone needs no answer
}

func refuse(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if status == backend.StatusTimeout {
		status = backend.Status(http.StatusGatewayTimeout)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status))
	json.NewEncoder(w).Encode(map[string]string{"message": err.Error()}) // a page that is gone needs no answer
}
