package plugin

import (
	"context"
	"slices"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

// values answers with the values of a key, for template variables: a key of the
// selector, or scenario.
func values(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	list, err := keyValues(ctx, index, q)
	if err != nil {
		return nil, err
	}
	// Exactly one frame: variables read its fields by their place.
	return data.Frames{data.NewFrame("", data.NewField("text", nil, list), data.NewField("value", nil, list))}, nil
}

func keyValues(ctx context.Context, index *traffic.Reader, q *question) ([]string, error) {
	if q.Key == "scenario" {
		return scenarioNames(ctx, index)
	}
	asked := traffic.ValuesQuery{Query: q.chosen(), Key: selector.Key(q.Key), Limit: q.Limit}
	if name, tag := strings.CutPrefix(q.Key, "tag."); tag {
		asked.Key, asked.Tag = selector.Tag, name
	}
	return index.Values(ctx, asked)
}

func scenarioNames(ctx context.Context, index *traffic.Reader) ([]string, error) {
	list, err := index.Scenarios(ctx, traffic.OutcomeQuery{Limit: traffic.MaxPage})
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, s := range list {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
