package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/accounting/spool"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/route"
	"github.com/weir-gateway/weir/server/tokens/bpe"
)

// Config is weir.yaml: where Weir listens, what it keeps and what stands
// behind it. Flags of `weir serve` override it. Tenants, policies, budgets and
// prices are not in it: they are documents, applied with `weir apply`.
type Config struct {
	// Listen is where the three ports are.
	Listen ListenConfig `yaml:"listen"`
	// TLS is what the gRPC and HTTP ports speak; plain where it is absent.
	TLS *TLSConfig `yaml:"tls"`
	// Data is the folder of the SQLite database and of the first keys.
	Data string `yaml:"data"`
	// Store is postgres://… where several replicas share one database; empty
	// means SQLite in the data folder.
	Store string `yaml:"store"`
	// Durability is what a call waits for before it is told that it is over:
	// commit (this machine's disk), relaxed (nothing; the disk follows within
	// 100 ms), or store (the database).
	Durability string `yaml:"durability"`
	// Ledger is how long the lines of calls are kept.
	Ledger LedgerConfig `yaml:"ledger"`
	// Grace is how long running calls may go on after SIGTERM.
	Grace Duration `yaml:"grace"`
	// MaxDuration bounds a call that sets no earlier deadline.
	MaxDuration Duration `yaml:"max_duration"`
	// StallTimeout is how long a caller may leave its answer unread before its
	// call ends.
	StallTimeout Duration   `yaml:"stall_timeout"`
	GRPC         GRPCConfig `yaml:"grpc"`
	HTTP         HTTPConfig `yaml:"http"`
	// Log is how the log is written: level debug, info, warn or error; format
	// text or json.
	Log LogConfig `yaml:"log"`
	// Telemetry is where traces and metrics are sent; nowhere where it is absent.
	Telemetry TelemetryConfig `yaml:"telemetry"`

	// Cache is the memory for answers that are given again.
	Cache    CacheConfig     `yaml:"cache"`
	Backends []BackendConfig `yaml:"backends"`
	Models   []ModelConfig   `yaml:"models"`
	// Guards are services that judge text for rules with guard: remote.
	Guards []GuardConfig `yaml:"guards"`
}

// ListenConfig holds addresses such as 127.0.0.1:8080. Port 0 picks a free one.
type ListenConfig struct {
	GRPC string `yaml:"grpc"`
	HTTP string `yaml:"http"`
	// Admin serves metrics, profiles and channelz; 127.0.0.1:8081, or a free port where that is taken,
	// where nothing is said.
	Admin string `yaml:"admin"`
}

// GRPCConfig is what the gRPC port does beside answering.
type GRPCConfig struct {
	// MaxConnectionAge is when a connection is told to go, so that clients spread
	// over replicas that have come since. Its calls may end first. 0 is never.
	MaxConnectionAge Duration `yaml:"max_connection_age"`
	// LoadReports tells callers that ask how busy the model is that they called: a
	// Weir in front, or any balancer that reads ORCA.
	LoadReports bool `yaml:"load_reports"`
}

// HTTPConfig is what the HTTP port does beside answering.
type HTTPConfig struct {
	// CORSOrigins are the origins whose pages may call from a browser, such as
	// https://app.example.org; "*" is all. Empty is none.
	CORSOrigins []string `yaml:"cors_origins"`
}

// LogConfig is how the log is written.
type LogConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// ModelConfig is a name that callers use.
type ModelConfig struct {
	Name string `yaml:"name"`
	// Targets share the calls.
	Targets []TargetConfig `yaml:"targets"`
	// Affinity says which calls go to the same target: session, prefix or none.
	Affinity string `yaml:"affinity"`
	// Embeds tells that the targets give embeddings, and no answers. The simulator
	// knows that of its models itself.
	Embeds bool `yaml:"embeds"`
	// MaxOutputTokens is what a candidate may have where the caller sets no limit.
	MaxOutputTokens int `yaml:"max_output_tokens"`
	// Hedge says when another target is asked beside one that says nothing; nil is
	// never.
	Hedge *HedgeConfig `yaml:"hedge"`
	// Cache says which answers are given again; nil is none.
	Cache *ModelCacheConfig `yaml:"cache"`
}

// HedgeConfig says when a call is hedged.
type HedgeConfig struct {
	After Duration `yaml:"after"`
}

// after is how long a target may say nothing; 0 is for ever.
func (h *HedgeConfig) after() time.Duration {
	if h == nil {
		return 0
	}
	return time.Duration(h.After)
}

// TargetConfig is a backend and its name for the model.
type TargetConfig struct {
	Backend string `yaml:"backend"`
	Model   string `yaml:"model"`
	// Tokenizer is the model's: cl100k, o200k, or a tokenizer.json; empty where it
	// is not known.
	Tokenizer string `yaml:"tokenizer"`
	// Priority is its tier: those of a higher number are for where none of a
	// lower one can be had.
	Priority int `yaml:"priority"`
	// Weight is its share within the tier; 1 where nothing is said.
	Weight *int `yaml:"weight"`
	// When tells which calls it takes.
	When *Condition `yaml:"when"`
}

// Condition is a condition of a target, in CEL.
type Condition struct{ *policy.Condition }

// UnmarshalText compiles a condition.
func (c *Condition) UnmarshalText(text []byte) (err error) {
	c.Condition, err = policy.NewTargetCondition(string(text))
	return err
}

// maxWeight keeps sums of weights small.
const maxWeight = 1_000_000

// Duration is a span of time as Go writes it, such as 30s or 10m.
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: write it as 30s or 10m", text)
	}
	*d = Duration(v)
	return nil
}

const defaultMaxOutputTokens = 4096

var durabilities = map[string]spool.Durability{"": spool.Commit, "commit": spool.Commit, "relaxed": spool.Relaxed, "store": spool.Store}

func (c *Config) durability() spool.Durability { return durabilities[c.Durability] }

// defaultConfig is what holds where nothing is said: everything on loopback,
// and no backend.
func defaultConfig() Config {
	return Config{
		Listen:      ListenConfig{GRPC: "127.0.0.1:8443", HTTP: "127.0.0.1:8080"},
		Data:        "weir-data",
		Grace:       Duration(30 * time.Second),
		MaxDuration: Duration(10 * time.Minute), StallTimeout: Duration(time.Minute),
		GRPC: GRPCConfig{MaxConnectionAge: Duration(30 * time.Minute)},
		Log:  LogConfig{Level: "info", Format: "text"},
	}
}

// demoModels is what stands behind a Weir without a configuration file: the
// simulator, with one model that works and some that fail as backends do.
func (c *Config) demoModels() {
	c.Backends = []BackendConfig{{Name: "simulator", Kind: "simulator"}}
	for _, name := range slices.Sorted(maps.Keys(simulator.DefaultModels())) {
		c.Models = append(c.Models, ModelConfig{Name: name, Targets: []TargetConfig{{Backend: "simulator", Model: name}}})
	}
}

// loadConfig reads a file over the defaults. Its errors name the file, the
// line, the field and the way out. Warnings are for the log.
func loadConfig(file string, getenv func(string) (string, bool)) (c Config, warnings []string, err error) {
	c = defaultConfig()
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil, fmt.Errorf("there is no config file %s: check the path given with --config", file)
	}
	if err != nil {
		return c, nil, fmt.Errorf("cannot read the config file: %w", err)
	}
	var root yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return c, nil, fmt.Errorf("%s: not YAML: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(root.Content) == 0 {
		return c, nil, fmt.Errorf("%s: the file is empty: name at least one backend and one model, or start without --config", file)
	}
	var problems policy.Problems
	expand(root.Content[0], "", getenv, &problems, &warnings)
	if len(problems) == 0 {
		switch err := policy.Decode(root.Content[0], &c).(type) {
		case nil:
			problems = c.check(root.Content[0])
		case policy.Problems:
			problems = err
		default:
			return c, nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if err := problems.Err(); err != nil {
		return c, nil, fmt.Errorf("%s: %s", file, strings.ReplaceAll(err.Error(), "\n", "\n"+file+": "))
	}
	return c, warnings, nil
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts environment variables in the place of ${NAME}. One that is not
// set is an error, but for a key: many servers want none.
func expand(n *yaml.Node, field string, getenv func(string) (string, bool), problems *policy.Problems, warnings *[]string) {
	if n.Kind == yaml.ScalarNode {
		n.Value = variable.ReplaceAllStringFunc(n.Value, func(ref string) string {
			name := variable.FindStringSubmatch(ref)[1]
			value, set := getenv(name)
			switch {
			case set:
			case field == "key":
				*warnings = append(*warnings, fmt.Sprintf("line %d: key: environment variable %s is not set: calls to this backend go without a key", n.Line, name))
			default:
				*problems = append(*problems, policy.Fault(n, field, "environment variable %s is not set: set it, or write the value itself", name))
			}
			return value
		})
		return
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				field = child.Value
				continue
			}
		}
		expand(child, field, getenv, problems, warnings)
	}
}

// check tells what is wrong with a configuration beyond its form.
func (c *Config) check(root *yaml.Node) (problems policy.Problems) {
	fault := func(field, format string, args ...any) {
		problems = append(problems, policy.Fault(nodeAt(root, field), field, format, args...))
	}
	backends, kinds := map[string]bool{}, map[string]string{}
	if c.TLS != nil {
		if field, problem := c.TLS.check(); field != "" {
			fault("tls."+field, "%s", problem)
		}
	}
	for i, b := range c.Backends {
		at := fmt.Sprintf("backends[%d]", i)
		switch {
		case b.Name == "":
			fault(at+".name", "missing: give the backend a name for targets to use")
		case backends[b.Name]:
			fault(at+".name", "%q is taken by another backend: choose another name", b.Name)
		}
		backends[b.Name], kinds[b.Name] = true, b.Kind
		if field, problem := b.check(); field != "" {
			fault(at+"."+field, "%s", problem)
		}
	}
	if len(c.Models) == 0 {
		fault("models", "missing: name at least one model that callers can use")
	}
	models := map[string]bool{}
	for i, m := range c.Models {
		at := fmt.Sprintf("models[%d]", i)
		switch {
		case m.Name == "":
			fault(at+".name", "missing: give the model a name for callers to use")
		case models[m.Name]:
			fault(at+".name", "%q is taken by another model: choose another name", m.Name)
		}
		models[m.Name] = true
		if len(m.Targets) == 0 {
			fault(at+".targets", "missing: name at least one backend that serves the model")
		}
		if m.MaxOutputTokens < 0 {
			fault(at+".max_output_tokens", "%d is negative: leave it out for %d", m.MaxOutputTokens, defaultMaxOutputTokens)
		}
		if h := m.Hedge; h != nil && h.After == 0 {
			fault(at+".hedge.after", "missing: say for how long a target may say nothing, such as 800ms, or leave hedge out")
		} else if h != nil && len(m.Targets) < 2 {
			fault(at+".hedge", "there is no other target to ask: add one, or leave hedge out")
		}
		if field, problem := m.Cache.check(); field != "" {
			fault(at+".cache."+field, "%s", problem)
		}
		switch m.Affinity {
		case "", "none", string(route.SessionAffinity), string(route.PrefixAffinity):
		default:
			fault(at+".affinity", "unknown affinity %q: known are none, session and prefix", m.Affinity)
		}
		if len(m.Targets) > route.MaxTargets {
			fault(at+".targets", "%d targets are too many: use at most %d", len(m.Targets), route.MaxTargets)
		}
		for j, t := range m.Targets {
			at := fmt.Sprintf("%s.targets[%d]", at, j)
			switch {
			case t.Backend == "":
				fault(at+".backend", "missing: name one of backends")
			case !backends[t.Backend]:
				fault(at+".backend", "there is no backend %q: add it under backends, or correct the name", t.Backend)
			}
			if m.Embeds && kinds[t.Backend] == "anthropic" {
				fault(at+".backend", "a backend of kind anthropic gives no embeddings: name one of another kind")
			}
			if t.Weight != nil && (*t.Weight < 1 || *t.Weight > maxWeight) {
				fault(at+".weight", "want a whole number from 1 to %d, got %d: to send it no calls, remove the target", maxWeight, *t.Weight)
			}
			if k := t.Tokenizer; k != "" && k != "cl100k" && k != "o200k" && filepath.Ext(k) != ".json" {
				fault(at+".tokenizer", "unknown tokenizer %q: known are cl100k, o200k and the path of a tokenizer.json", k)
			}
		}
	}
	if age := time.Duration(c.GRPC.MaxConnectionAge); age != 0 && age < time.Second {
		fault("grpc.max_connection_age", "%s is too short to answer calls: use 1s or more, or 0 for no end", age)
	}
	for i, origin := range c.HTTP.CORSOrigins {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Scheme+"://"+u.Host != origin || u.Host == "") {
			fault(fmt.Sprintf("http.cors_origins[%d]", i), "%q is no origin: write it as https://app.example.org, without a path, or \"*\" for all", origin)
		}
	}
	guards := map[string]bool{}
	for i, g := range c.Guards {
		at := fmt.Sprintf("guards[%d]", i)
		if field, problem := g.check(); field != "" {
			fault(at+"."+field, "%s", problem)
		} else if guards[g.Name] {
			fault(at+".name", "%q is taken by another service: choose another name", g.Name)
		}
		guards[g.Name] = true
	}
	if problem := c.Ledger.check(); problem != "" {
		fault("ledger.keep", "%s", problem)
	}
	if _, known := durabilities[c.Durability]; !known {
		fault("durability", "unknown durability %q: known are commit, relaxed and store", c.Durability)
	}
	if field, problem := c.Telemetry.OTLP.check(); field != "" {
		fault("telemetry.otlp."+field, "%s", problem)
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		fault("log.level", "unknown level %q: known are debug, info, warn and error", c.Log.Level)
	}
	switch c.Log.Format {
	case "text", "json":
	default:
		fault("log.format", "unknown format %q: known are text and json", c.Log.Format)
	}
	return problems
}

// nodeAt finds the node at a path such as models[0].targets[1].backend, or the
// nearest one above it that is there.
func nodeAt(n *yaml.Node, path string) *yaml.Node {
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		var next *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == step {
					next = n.Content[i+1]
				}
			}
		case yaml.SequenceNode:
			var i int
			if _, err := fmt.Sscan(step, &i); err == nil && i < len(n.Content) {
				next = n.Content[i]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// embedding are the models of a backend that give embeddings, by its own names
// for them.
func (c *Config) embedding(backend string) (names []string) {
	for _, m := range c.Models {
		for _, t := range m.Targets {
			if m.Embeds && t.Backend == backend {
				names = append(names, cmp.Or(t.Model, m.Name))
			}
		}
	}
	return names
}

// router makes the drivers and the models. What old knows of targets goes on; it
// may be nil.
func (c *Config) router(old *route.Router) (*route.Router, error) {
	backends := map[string]backend.Backend{}
	configs := map[string]BackendConfig{}
	for _, b := range c.Backends {
		made, err := b.open(c.embedding(b.Name))
		if err != nil {
			return nil, err
		}
		backends[b.Name], configs[b.Name] = made, b
	}
	var models []route.Model
	tokenizers := map[string]*bpe.Tokenizer{"": nil}
	for i, m := range c.Models {
		model := route.Model{Name: m.Name, MaxOutputTokens: m.MaxOutputTokens, Affinity: route.Affinity(m.Affinity), HedgeAfter: m.Hedge.after(), Cache: m.Cache.route()}
		if m.Affinity == "none" {
			model.Affinity = route.NoAffinity
		}
		if model.MaxOutputTokens == 0 {
			model.MaxOutputTokens = defaultMaxOutputTokens
		}
		for j, t := range m.Targets {
			name := t.Model
			if name == "" {
				name = m.Name
			}
			tokenizer, loaded := tokenizers[t.Tokenizer]
			if !loaded {
				var err error
				if tokenizer, err = loadTokenizer(t.Tokenizer); err != nil {
					return nil, fmt.Errorf("models[%d].targets[%d].tokenizer: %w", i, j, err)
				}
				tokenizers[t.Tokenizer] = tokenizer
			}
			target := route.Target{
				Name: t.Backend, Kind: configs[t.Backend].Kind, Backend: backends[t.Backend], Model: name, Tokenizer: tokenizer, Priority: t.Priority,
				Tags: configs[t.Backend].Tags, Region: configs[t.Backend].Region,
				Edition: configs[t.Backend].edition(),
			}
			if t.Weight != nil {
				target.Weight = *t.Weight
			}
			if t.When != nil {
				target.When = t.When.Condition
			}
			model.Targets = append(model.Targets, target)
		}
		models = append(models, model)
	}
	if old != nil {
		return old.Renew(models)
	}
	return route.New(models)
}

// loadTokenizer makes the tokenizer of a file, or an embedded one.
func loadTokenizer(name string) (*bpe.Tokenizer, error) {
	if filepath.Ext(name) == ".json" {
		return bpe.Load(name)
	}
	return bpe.Named(name)
}

// adminSecret is the key in WEIR_ADMIN_KEY, checked, or "".
func adminSecret(getenv func(string) (string, bool)) (string, error) {
	secret, set := getenv("WEIR_ADMIN_KEY")
	if !set || secret == "" {
		return "", nil
	}
	if err := auth.CheckSecret(secret); err != nil {
		return "", fmt.Errorf("WEIR_ADMIN_KEY: %w", err)
	}
	return secret, nil
}
