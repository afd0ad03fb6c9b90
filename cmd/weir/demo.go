package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

type demoCommand struct {
	Backend string `help:"Put Weir in front of a server you have, such as http://127.0.0.1:11434/v1, instead of the simulator." placeholder:"URL"`
	Model   string `help:"Model of that server." placeholder:"NAME"`
}

// demoPolicies is what the demo applies. MODEL and WORDS are filled in.
const demoPolicies = `# Two tenants. acme lets no answer say a forbidden word; globex lets no email
# address out, and few calls in.
kind: Tenant
name: acme
---
kind: Project
tenant: acme
name: lab
---
kind: Tenant
name: globex
---
kind: Price
model: "MODEL"
currency: USD
effective: 2026-01-01
per_million: {input: 0.50, output: 1.50}
---
kind: Budget
name: cap
tenant: acme
per: tenant
limit: 5 USD
window: month
---
kind: Budget
name: lab-cap
tenant: acme
project: lab
per: project
limit: 0.002 USD
window: total
---
kind: Policy
name: words
tenant: acme
rates:
  - {per: key, requests: 600/min, concurrent: 64}
safety:
  output:
    - {guard: lexicon, terms: [WORDS], whole_word: true, action: block}
---
kind: Policy
name: privacy
tenant: globex
rates:
  - {per: key, requests: 3/h}
safety:
  output:
    - {guard: pattern, builtin: email, action: redact}
`

// demoScript is what is asked. The simulator says what it is told to; a real
// model says what it likes, so its part of the demo proves less and says so.
type demoScript struct {
	model                     string
	words                     string
	ask, block, redact, small string
	exact                     bool // the answers are known beforehand
}

func (c *demoCommand) script() demoScript {
	if c.Backend == "" {
		return demoScript{
			model: "sim-text", words: `"zorblatt", "佐布拉特"`, exact: true,
			ask:    "What is a weir good for?",
			block:  "say: The secret ingredient is called zorblatt, and it is made of moonlight.",
			redact: "say: 请写信给 zhang.san@example.com 或 ada@example.org 谢谢。",
			small:  "Name one river.",
		}
	}
	return demoScript{
		model: c.Model, words: `"the", "and", "of"`,
		ask:    "What is a weir good for? Answer in one sentence.",
		block:  "Tell me in one sentence about the history of the Thames.",
		redact: "Repeat exactly: Please write to ada@example.org today.",
		small:  "Name one river.",
	}
}

func (c *demoCommand) Run(ctx context.Context, t terminal) (err error) {
	if (c.Backend == "") != (c.Model == "") {
		return usageError(errors.New("--backend and --model go together: say which model of that server to call"))
	}
	folder, err := os.MkdirTemp("", "weir-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	d := &demo{
		terminal: t, script: c.script(), folder: folder,
		keys: map[string]string{}, spent: accounting.Money{Currency: "USD"}, bold: isTerminal(t.out),
	}
	return d.run(ctx, c)
}

// demo is one run of it.
type demo struct {
	terminal
	script demoScript
	folder string
	grpc   string
	http   string
	keys   map[string]string // by the name of the shell variable that stands for them
	spent  accounting.Money  // what the calls said they cost
	calls  int
	step   int
	bold   bool
}

func (d *demo) run(ctx context.Context, c *demoCommand) error {
	d.heading("A Weir comes up, on ports that are free, with SQLite in a temporary folder.")
	stop, err := d.start(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = stop() }() // has been told, where the run below came to its end

	for _, part := range []func(context.Context) error{d.tenants, d.acme, d.globex, d.limits, d.bill} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return stop()
}

// start runs a Weir in this process. What it returns drains it; it may be
// called twice.
func (d *demo) start(ctx context.Context, c *demoCommand) (func() error, error) {
	config := defaultConfig()
	config.Data = filepath.Join(d.folder, "data")
	config.Listen = ListenConfig{GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	config.Grace = Duration(5 * time.Second)
	if c.Backend == "" {
		config.demoModels()
		d.command("weir serve --data %s --grpc 127.0.0.1:0 --http 127.0.0.1:0", config.Data)
	} else {
		file := filepath.Join(d.folder, "weir.yaml")
		text := fmt.Sprintf("backends:\n  - {name: yours, kind: openai, url: %q}\nmodels:\n  - {name: %q, targets: [{backend: yours, model: %q}], max_output_tokens: 64}\n", c.Backend, c.Model, c.Model)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		fromFile, _, err := loadConfig(file, d.getenv)
		if err != nil {
			return nil, usageError(err)
		}
		config.Backends, config.Models = fromFile.Backends, fromFile.Models
		d.say("%s", strings.TrimSpace(text))
		d.command("weir serve --config weir.yaml --data %s --grpc 127.0.0.1:0 --http 127.0.0.1:0", config.Data)
	}
	log := newLogger(d.err, LogConfig{Level: "error", Format: "text"})
	slog.SetDefault(log)
	quiet := d.terminal
	quiet.getenv = func(name string) (string, bool) { return "", false }
	w, err := open(ctx, config, false, quiet, log)
	if err != nil {
		return nil, err
	}
	serving, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() { ended <- w.serve(serving, func() { close(ready) }) }()
	<-ready
	d.grpc, d.http, _ = w.server.Addresses()
	d.say("ready: grpc %s, http %s", d.grpc, d.http)
	var stopped bool
	return func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		err := <-ended
		w.close()
		return err
	}, nil
}

// tenants applies the documents and makes the keys.
func (d *demo) tenants(ctx context.Context) error {
	d.heading("The operator applies documents: two tenants, a price, budgets, policies.")
	file := filepath.Join(d.folder, "tenants.yaml")
	text := strings.ReplaceAll(strings.ReplaceAll(demoPolicies, "MODEL", d.script.model), "WORDS", d.script.words)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	admin, err := os.ReadFile(filepath.Join(d.folder, "data", adminKeyFile))
	if err != nil {
		return err
	}
	d.keys["ADMIN"] = strings.TrimSpace(string(admin))
	out, err := d.weir(ctx, "ADMIN", "apply", "-f", file)
	if err != nil {
		return err
	}
	d.say("%s", strings.TrimSpace(out))

	d.heading("Each tenant gets a key; its secret is shown once and kept only as a hash.")
	for _, k := range []struct{ variable, tenant, project string }{{"ACME", "acme", "default"}, {"LAB", "acme", "lab"}, {"GLOBEX", "globex", "default"}} {
		out, err := d.weir(ctx, "ADMIN", "key", "create", "--tenant", k.tenant, "--project", k.project, "--name", "k1", "-o", "json")
		if err != nil {
			return err
		}
		var made struct{ Key string }
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			return err
		}
		d.keys[k.variable] = made.Key
		d.say("%s… is now $%s", made.Key[:10], k.variable)
	}
	return nil
}

// acme calls over gRPC, and one of its streams is blocked.
func (d *demo) acme(ctx context.Context) error {
	d.heading("acme asks, over gRPC. The answer carries its usage and its exact cost.")
	if _, err := d.call(ctx, "ACME", d.script.ask, "--label", "team=search"); err != nil {
		return err
	}
	d.heading("acme streams, and the model begins to say a forbidden word: not one byte of it leaves.")
	r, err := d.call(ctx, "ACME", d.script.block, "--stream", "--label", "team=kitchen")
	if err != nil {
		return err
	}
	return d.expect(r.FinishReason == "safety" && !strings.Contains(r.Text, "zorb"), "the stream should have been blocked before the word")
}

// globex calls through the OpenAI face, and its answers lose their addresses.
func (d *demo) globex(ctx context.Context) error {
	d.heading("globex uses an OpenAI client, unary and streamed. Email addresses are redacted in the middle of the stream.")
	if err := d.openAI(ctx, d.script.ask, false); err != nil {
		return err
	}
	return d.openAI(ctx, d.script.redact, true)
}

// limits runs into a rate and into a budget.
func (d *demo) limits(ctx context.Context) error {
	d.heading("globex may make 3 calls an hour: the third passes, the fourth is told when to come again.")
	if _, err := d.call(ctx, "GLOBEX", d.script.small); err != nil {
		return err
	}
	if err := d.refused(ctx, "GLOBEX", exitExhausted, "call", "-m", d.script.model, d.script.small); err != nil {
		return err
	}
	d.heading("acme's project lab has 0.002 USD in all: a short answer fits, one that might cost more is refused before it costs anything.")
	if _, err := d.call(ctx, "LAB", d.script.small, "--max-tokens", "20"); err != nil {
		return err
	}
	return d.refused(ctx, "LAB", exitExhausted, "call", "-m", d.script.model, "--max-tokens", "2000", d.script.small)
}

// bill prints the report and compares its total with what the calls said.
func (d *demo) bill(ctx context.Context) error {
	d.heading("The bill, by tenant and model.")
	out, err := d.weir(ctx, "ADMIN", "report", "--by", "tenant,model", "--since", "1h")
	if err != nil {
		return err
	}
	d.say("%s", strings.TrimRight(out, "\n"))
	out, err = run1(ctx, d.terminal, d.environment("ADMIN"), "report", "--by", "tenant,model", "--since", "1h", "-o", "json")
	if err != nil {
		return err
	}
	var report struct{ Total map[string]string }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return err
	}
	d.say("\nThe %d calls that were served said they cost %s; the ledger says %s USD.", d.calls, d.spent, report.Total["USD"])
	if report.Total["USD"] != d.spent.Decimal() {
		return fmt.Errorf("the ledger's total %s USD is not the sum of the calls' costs %s: this is a bug, please report it", report.Total["USD"], d.spent)
	}
	d.say("Equal, to the nano.")
	return nil
}

// call runs `weir call`, shows what came and adds up what it cost.
func (d *demo) call(ctx context.Context, key, prompt string, flags ...string) (callResult, error) {
	args := append([]string{"call", "-m", d.script.model, "-o", "json"}, append(flags, prompt)...)
	var result callResult
	out, err := d.weir(ctx, key, args...)
	var coded *codedError
	if err != nil && !(errors.As(err, &coded) && coded.code == exitBlocked) {
		return result, err
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		return result, err
	}
	d.say("> %s", result.Text)
	if result.FinishReason == "safety" {
		d.say("  [ends here: %s]", blockedBy(result.Verdicts))
	}
	for _, v := range result.Verdicts {
		if v.Action == "redact" {
			d.say("  [%s %s by rule %s of %s]", v.Category, v.Action, v.Rule, v.Policy)
		}
	}
	if result.Cost == nil || result.Usage.InputTokens == nil || result.Usage.OutputTokens == nil {
		return result, errors.New("the answer has no cost or no usage: this is a bug, please report it")
	}
	d.say("  %d tokens in, %d out (%s), %s %s", *result.Usage.InputTokens, *result.Usage.OutputTokens, result.Usage.Source, result.Cost.Amount, result.Cost.Currency)
	return result, d.add(result.Cost.Amount, result.Cost.Currency)
}

func (d *demo) add(amount, currency string) error {
	cost, err := accounting.ParseMoney(amount, currency)
	if err != nil {
		return err
	}
	d.calls++
	d.spent, err = d.spent.Add(cost)
	return err
}

// refused runs a command that must end with a code.
func (d *demo) refused(ctx context.Context, key string, code int, args ...string) error {
	_, err := d.weir(ctx, key, args...)
	var coded *codedError
	if !errors.As(err, &coded) || coded.code != code {
		return d.expect(false, fmt.Sprintf("the call should have been refused with exit code %d, and the outcome was: %v", code, err))
	}
	d.say("  refused: %v", err)
	return nil
}

// expect fails the demo where an outcome that is known beforehand is missing.
func (d *demo) expect(ok bool, what string) error {
	if ok {
		return nil
	}
	if !d.script.exact {
		d.say("  [this model did not play along this time: %s]", what)
		return nil
	}
	return errors.New(what + ": this is a bug, please report it")
}

// openAI calls through the OpenAI face as any HTTP client would.
func (d *demo) openAI(ctx context.Context, prompt string, stream bool) error {
	body, err := json.Marshal(map[string]any{
		"model": d.script.model, "stream": stream,
		"messages": []map[string]string{{"role": "user", "content": prompt}},
	})
	if err != nil {
		return err
	}
	unbuffered := ""
	if stream {
		unbuffered = "-N "
	}
	d.command("curl %shttp://%s/v1/chat/completions -H \"Authorization: Bearer $GLOBEX\" -d '%s'", unbuffered, d.http, body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.http+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+d.keys["GLOBEX"])
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("the OpenAI face answered %s: %s", answer.Status, text)
	}
	read := readUnary
	if stream {
		read = readStream
	}
	text, cost, err := read(answer.Body)
	if err != nil {
		return err
	}
	d.say("> %s", text)
	d.say("  %s %s (request %s)", cost.Amount, cost.Currency, answer.Header.Get("x-weir-request-id"))
	if stream {
		if err := d.expect(!strings.Contains(text, "@") && strings.Contains(text, "["), "the addresses should have been redacted"); err != nil {
			return err
		}
	}
	return d.add(cost.Amount, cost.Currency)
}

// chatChunk is what the demo reads of an answer of the OpenAI face.
type chatChunk struct {
	Choices []struct {
		Message, Delta struct{ Content string }
	}
	Weir *struct{ Cost moneyResult }
}

func readUnary(body io.Reader) (text string, cost moneyResult, err error) {
	var c chatChunk
	if err := json.NewDecoder(body).Decode(&c); err != nil {
		return "", cost, err
	}
	if len(c.Choices) == 0 || c.Weir == nil {
		return "", cost, errors.New("the answer of the OpenAI face lacks its text or its cost: this is a bug, please report it")
	}
	return c.Choices[0].Message.Content, c.Weir.Cost, nil
}

func readStream(body io.Reader) (text string, cost moneyResult, err error) {
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData || data == "[DONE]" {
			continue
		}
		var c chatChunk
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			return text, cost, err
		}
		for _, choice := range c.Choices {
			text += choice.Delta.Content
		}
		if c.Weir != nil {
			cost = c.Weir.Cost
		}
	}
	return text, cost, lines.Err()
}

// weir shows a command, runs it in this process, and returns what it printed.
func (d *demo) weir(ctx context.Context, key string, args ...string) (string, error) {
	shown := make([]string, len(args))
	for i, a := range args {
		shown[i] = a
		if strings.ContainsAny(a, " '\"$?") {
			shown[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	d.command("WEIR_ADDR=%s WEIR_KEY=$%s weir %s", d.grpc, key, strings.Join(shown, " "))
	return run1(ctx, d.terminal, d.environment(key), args...)
}

func (d *demo) environment(key string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch name {
		case "WEIR_ADDR":
			return d.grpc, true
		case "WEIR_KEY":
			return d.keys[key], true
		}
		return "", false
	}
}

// run1 runs the command line once, and gives back its output and its error.
func run1(ctx context.Context, t terminal, getenv func(string) (string, bool), args ...string) (string, error) {
	var out, failed bytes.Buffer
	code := run(ctx, args, terminal{in: strings.NewReader(""), out: &out, err: &failed, getenv: getenv})
	if code != exitOK {
		return out.String(), &codedError{code, errors.New(strings.TrimPrefix(strings.TrimSpace(failed.String()), "weir: "))}
	}
	return out.String(), nil
}

func (d *demo) heading(text string) {
	d.step++
	on, off := "", ""
	if d.bold {
		on, off = "\x1b[1m", "\x1b[0m"
	}
	fmt.Fprintf(d.out, "\n%s%d. %s%s\n", on, d.step, text, off)
}

func (d *demo) command(format string, args ...any) {
	on, off := "", ""
	if d.bold {
		on, off = "\x1b[36m", "\x1b[0m"
	}
	fmt.Fprintf(d.out, "   %s$ %s%s\n", on, fmt.Sprintf(format, args...), off)
}

func (d *demo) say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...) + "\n") {
		fmt.Fprint(d.out, "   ", line)
	}
}

// isTerminal tells whether a person reads what is written.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}
