package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/scenariogen/scenario"
)

type redactFill struct {
	Secrets string `arg:"" help:"File of secrets, as tapedeck scenario secrets writes it."`
	Values  string `arg:"" default:"-" help:"File of values, one a line: those of your test accounts. - is standard input, the default."`
	keyFlags
}

// Run computes the tokens of values, which nobody can without the key, and
// writes the values into the lines of those tokens.
func (c *redactFill) Run(_ context.Context, env *Env) error {
	keys, err := c.openExisting()
	if err != nil {
		return fmt.Errorf("redact fill: %w", err)
	}
	in := env.Stdin
	if c.Values != "-" {
		f, err := os.Open(c.Values)
		if err != nil {
			return fmt.Errorf("redact fill: %w", err)
		}
		defer f.Close()
		in = f
	}
	known, engines := map[string]string{}, []*redact.Engine{}
	for _, key := range keys.All() {
		engines = append(engines, redact.New(key))
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		for _, e := range engines {
			tokensOf(e, lines.Text(), known)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("redact fill: read values: %w", err)
	}
	filled, empty, err := scenario.FillSecrets(c.Secrets, known)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "filled %s of %s, %d are empty\n", plural(filled, "line"), c.Secrets, empty)
	return nil
}

// namesOfClasses are names in JSON whose values are of one class each.
var namesOfClasses = []string{"password", "email", "pan", "iban", "phone", "ssn", "first_name", "address", "birthdate"}

// tokensOf adds the tokens of a value in each class that it may be of.
func tokensOf(e *redact.Engine, value string, known map[string]string) {
	values := map[string]any{}
	for _, name := range namesOfClasses {
		values[name] = value
	}
	if _, err := strconv.ParseInt(value, 10, 64); err == nil && json.Valid([]byte(value)) {
		values["pin"] = json.Number(value)
	}
	if strings.Contains(value, ":") { // user:password, as basic authentication sends it
		values["token"] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	body, err := json.Marshal(values)
	if err != nil {
		return
	}
	x := &events.Exchange{Request: &events.Request{Method: "POST", Target: "/",
		Headers: []*events.Field{{Name: []byte("Content-Type"), Value: []byte("application/json")}},
		Body:    &events.Body{Data: body, Size: int64(len(body)), Kept: int64(len(body))}}}
	e.Exchange(x)
	replaced := map[string]json.RawMessage{}
	if json.Unmarshal(x.Request.Body.Data, &replaced) != nil {
		return
	}
	for _, raw := range replaced {
		token := string(raw)
		if text, err := strconv.Unquote(token); err == nil {
			token = text
		}
		if token != value {
			known[token] = value
		}
	}
}
