package traffic

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/events/selector"
)

// Whatever the parser takes as a regular expression, PostgreSQL takes as well
// and reads alike: generated nonsense on generated texts.
func TestPatternsAreReadAlike(t *testing.T) {
	r := newRandom(t)
	s := openStore(t)
	texts := []string{"", "\n", "a\nb", "K", "k", "\u212a", "é", "É", "ß"}
	for len(texts) < 60 {
		texts = append(texts, randomFrom(r, strings.Split("aAbB0é.-]\n{^", ""), 6))
	}
	var conditions []*selector.Condition
	for tries := 0; len(conditions) < 2000; tries++ {
		e, err := selector.Matching(selector.Path, pick(r, "", "", "(?i)")+randomFrom(r, patternTokens, 10))
		if err == nil {
			conditions = append(conditions, e.Condition)
		}
		if tries > 1_000_000 {
			t.Fatalf("only %d patterns were taken", len(conditions))
		}
	}
	matched := 0
	for _, c := range conditions {
		got, err := matchesInSQL(t.Context(), s, c, texts)
		if err != nil {
			t.Fatalf("%s is %s: %v", c, c.Pattern(), err)
		}
		for i, text := range texts {
			want := c.MatchText(text)
			if got[i] != want {
				t.Fatalf("%s is %s: PostgreSQL says %v of %q, Go says %v", c, c.Pattern(), got[i], text, want)
			}
			if want {
				matched++
			}
		}
	}
	t.Logf("%d patterns, %d of %d texts matched", len(conditions), matched, len(conditions)*len(texts))
}

var patternTokens = []string{
	"a", "b", "A", "é", "0", ".", ".*", ".+", "a*", "(", ")", "(", ")", "(?:", "|", "|", "[ab]", "[^ab]", "[]a]", "[a-c]", "[^A-Z0-9]", "[é-ü]", "[a\\-z]",
	"[.-a]", "[[]", "?", "*", "+", "{2}", "{0,2}", "{1,}", "{0}", "{0,0}", "{", "}", "{a}", "^", "$", `\.`, `\\`, `\[`, `\-`, "-", ",", "]", "\n", " ", "#",
}

func randomFrom(r *rand.Rand, tokens []string, most int) string {
	var b strings.Builder
	for range r.IntN(most) + 1 {
		b.WriteString(pick(r, tokens...))
	}
	return b.String()
}

// The biggest that the parser takes are not too much for either engine.
func TestBigPatterns(t *testing.T) {
	s := openStore(t)
	texts := []string{strings.Repeat("ab", 400), strings.Repeat("a", 999) + "c", ""}
	for _, pattern := range []string{
		"(((a{0,7}){0,7}){0,7})", "(.{0,150}a|b){3}", "([ab]{0,160}){0,3}", "(a?){255}.*", "(.*a.{200}b){2}", ".{255}.{200}.*c",
		"((a|b)*(b|a)*)*c", strings.Repeat("(a|b)?", 240), strings.Repeat("[^a-c]|", 450) + "x",
	} {
		e, err := selector.Matching(selector.Path, pattern)
		if err != nil {
			t.Errorf("%.40s: %v", pattern, err)
			continue
		}
		begin := time.Now()
		got, err := matchesInSQL(t.Context(), s, e.Condition, texts)
		if err != nil {
			t.Errorf("%.40s: %v", pattern, err)
			continue
		}
		t.Logf("%.40s: %s", pattern, time.Since(begin))
		for i, text := range texts {
			if want := e.Condition.MatchText(text); got[i] != want {
				t.Errorf("%.40s: PostgreSQL says %v of %.10q…, Go says %v", pattern, got[i], text, want)
			}
		}
	}
}

func matchesInSQL(ctx context.Context, s *Store, c *selector.Condition, texts []string) ([]bool, error) {
	rows, err := s.pool.Query(ctx, "select s ~ $1 from unnest($2::text[]) with ordinality u(s, n) order by n", c.Pattern(), texts)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[bool])
}
