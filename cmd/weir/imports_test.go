package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// module is what our import paths begin with.
const module = "github.com/weir-gateway/weir/"

// mayImport is the architecture: which of our packages each of our packages
// may import. A row ending in /* stands for the packages below that have no row
// of their own. Whoever adds a package adds its row, with the thought that
// belongs to it; docs/architecture.md says why the rows are as they are.
var mayImport = map[string][]string{
	"policy":             {},
	"policy/fold":        {},
	"policy/fold/tables": {},
	"policy/guard":       {"policy", "policy/fold"},
	"policy/remote":      {"policy"},

	"accounting":                 {},
	"accounting/price":           {"accounting"},
	"accounting/price/feed":      {"accounting", "accounting/price"},
	"accounting/price/defaults":  {"accounting", "accounting/price", "accounting/price/feed"}, // a program that makes the default prices
	"accounting/lease":           {"accounting"},
	"accounting/spool":           {"accounting"},
	"accounting/lease/leasetest": {"accounting", "accounting/lease"}, // the contract of every store of leases
	"accounting/ledger":          {"accounting", "accounting/price", "accounting/lease", "accounting/spool"},
	"accounting/report":          {"accounting", "accounting/price", "accounting/lease"},

	"accounting/outputlog": {"accounting", "policy"}, // policy: verdicts, modes, and the rules that redact

	"server/auth":                    {},
	"server/backend":                 {"accounting"}, // Usage only
	"server/backend/*":               {"server/backend", "accounting"},
	"server/backend/credential":      {"server/backend"}, // keys that change
	"server/backend/httpstream":      {"server/backend", "server/backend/credential", "server/backend/load"},
	"server/backend/load":            {"server/backend"}, // how busy servers say they are
	"server/backend/grpcclient":      {"server/backend", "server/backend/credential"},
	"server/backend/openai":          {"server/backend", "accounting", "server/backend/httpstream", "server/backend/credential", "server/backend/load"},
	"server/backend/anthropic":       {"server/backend", "accounting", "server/backend/httpstream", "server/backend/credential"},
	"server/backend/gemini":          {"server/backend", "accounting", "server/backend/grpcclient", "server/backend/credential", "server/backend/httpstream"}, // httpstream: it gathers extras, which are JSON
	"server/backend/oip":             {"server/backend", "accounting", "server/backend/grpcclient", "server/backend/credential", "gen/inference"},             // its vendors' wire, of our own writing
	"server/backend/weir":            {"server/backend", "accounting", "server/backend/credential", "server/backend/load", "gen/weir/v1"},                     // its vendor's wire is our own
	"server/backend/backendtest":     {"server/backend", "accounting", "server/backend/simulator"},                                                            // the models that its cases of embeddings ask
	"server/tokens":                  {"server/backend", "server/tokens/bpe"},
	"server/tokens/bpe":              {}, // a tokenizer knows no call
	"server/tokens/bpe/vocabularies": {},
	"server/route":                   {"server/backend", "server/tokens/bpe", "policy"}, // bpe: a target names its model's tokenizer
	"server/admit":                   {"policy"},
	"server/cache":                   {"server/backend", "accounting"}, // accounting: the usage of an answer
	"server/idempotency":             {},                               // bytes in, bytes out
	"server/gateway": {
		"server/backend", "server/tokens", "server/route", "server/admit", "server/auth", "server/idempotency", "server/cache",
		"policy", "accounting", "accounting/ledger", "accounting/outputlog",
	},
	"server/gateway/gatewaytest": { // a whole gateway for tests
		"server/gateway", "server/backend/simulator", "server/route", "server/admit", "server/auth", "server/admin",
		"server/store", "server/store/sqlite", "policy", "policy/guard", "accounting/ledger", "accounting/lease", "accounting/spool", "accounting/price",
	},
	"server/admin": {"policy", "accounting", "accounting/price", "accounting/lease", "server/auth"}, // accounting: amounts in documents
	"server/face": {
		"gen/weir/v1", "server/gateway", "server/backend", "server/auth", "server/admin", "policy", "accounting",
	},
	"server/face/weir": {
		"gen/weir/v1", "server/face", "server/gateway", "server/backend", "server/auth", "server/route",
		"policy", "accounting", "server/admin", "accounting/report", "accounting/outputlog", "accounting/price", "accounting/lease",
		"accounting/ledger",   // dead letters
		"accounting/spool",    // how the spool of a replica stands
		"server/backend/load", // reports of load in the trailer
	},
	"server/face/openai": {
		"server/face", "server/gateway", "server/backend", "server/auth", "server/route", "policy", "accounting",
	},
	"server/intercept": {"server/auth", "server/face"},
	"server":           {"server/intercept"},
	"server/bench":     {"gen/weir/v1"}, // a program beside the product: it speaks to it as its callers do
	"server/store": {
		"server/auth", "server/admin", "server/admit", "server/idempotency", "policy", "accounting", "accounting/price", "accounting/lease",
		"accounting/ledger", "accounting/report", "accounting/outputlog",
	},
	"server/store/sqlite":   {"server/store", "accounting"}, // accounting: what an overflow is called
	"server/store/postgres": {"server/store", "accounting"},
	"server/store/storetest": {
		"server/store", "server/auth", "server/admin", "server/admit", "server/idempotency", "accounting", "accounting/lease", "accounting/lease/leasetest", "accounting/ledger", "accounting/report",
		"accounting/outputlog", "policy", "policy/guard",
	},

	"server/torture": {}, // tests only

	"proto":         {}, // the contract as text, for weir proto export
	"gen/weir/v1":   {},
	"gen/inference": {},
	"cmd/weir":      {"*"},
}

// refusedNames say nothing of what a package is for.
var refusedNames = []string{"util", "utils", "common", "helper", "helpers", "shared", "types", "models", "misc"}

type listed struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsFollowTheTable(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		allowed, ok := row(path)
		if !ok {
			t.Errorf("package %s has no row in mayImport: say what it may import, and think whether it is a room of the house", path)
			continue
		}
		for _, imported := range p.Imports {
			target, ours := strings.CutPrefix(imported, module)
			if ours && !slices.Contains(allowed, target) && !slices.Contains(allowed, "*") {
				t.Errorf("%s imports %s, which its row does not allow", path, target)
			}
		}
	}
}

func row(path string) ([]string, bool) {
	if allowed, ok := mayImport[path]; ok {
		return allowed, true
	}
	parent, _, _ := cutLast(path, "/")
	allowed, ok := mayImport[parent+"/*"]
	return allowed, ok
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func TestEveryRowHasAPackage(t *testing.T) {
	there := map[string]bool{}
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		there[path] = true
		parent, _, _ := cutLast(path, "/")
		there[parent+"/*"] = true
	}
	for path := range mayImport {
		if !there[path] {
			t.Errorf("mayImport has a row for %s, and there is no such package", path)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(path, "gen/") {
			continue
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + path[strings.LastIndexByte(path, '/')+1:] + " "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("package %s has no comment that begins with %q", path, want)
		}
		if slices.Contains(refusedNames, p.Name) {
			t.Errorf("package %s is named %s, which says nothing: name it for its noun", path, p.Name)
		}
	}
}
