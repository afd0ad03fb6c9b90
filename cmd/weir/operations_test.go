package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// operationsPage is the contract of what operators build alarms and searches on.
const operationsPage = "../../docs/operations.md"

// TestTheOperationsPageNamesAllThatIsLoggedAndMeasured reads the source for the
// names of metrics, for what is logged and for the fields of it, since most of
// them show only when something has gone wrong.
func TestTheOperationsPageNamesAllThatIsLoggedAndMeasured(t *testing.T) {
	text, err := os.ReadFile(operationsPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	found := spokenNames(t)
	for _, name := range []string{"weir_calls_total", "weir_spool_bytes", "the store is back", "client_request_id"} {
		if !slices.Contains(found, name) {
			t.Errorf("the source says %q no more, or this test does not find it", name)
		}
	}
	for _, name := range found {
		if !strings.Contains(page, name) {
			t.Errorf("%s does not name %q", operationsPage, name)
		}
	}
	for word := range strings.SplitSeq(page, "`") {
		if strings.HasPrefix(word, "weir_") && !strings.ContainsAny(word, "{* ") && !slices.Contains(found, word) {
			t.Errorf("%s names %s, which nothing measures", operationsPage, word)
		}
	}
}

// logMethods are those of slog.Logger, with the number of what stands before the
// message.
var logMethods = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0,
	"DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "LogAttrs": 2,
}

// spokenNames are the names of metrics, the messages that are logged where they
// are constants, and the names of their fields.
func spokenNames(t *testing.T) []string {
	t.Helper()
	names := map[string]bool{}
	keep := func(e ast.Expr) {
		if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if s, err := strconv.Unquote(literal.Value); err == nil && s != "" {
				names[s] = true
			}
		}
	}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2 || slices.Contains([]string{"gen", "testdata", "node_modules", "bench", "sdktest", "torture"}, entry.Name())):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok {
				measures := strings.Contains(path, "/server/intercept/") || strings.Contains(path, "/cmd/weir/")
				if measures && strings.HasPrefix(literal.Value, `"weir_`) && !strings.ContainsAny(literal.Value, "%. ") {
					keep(literal)
				}
				return true
			}
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if of, ok := method.X.(*ast.Ident); ok && of.Name == "slog" && len(call.Args) == 2 {
				keep(call.Args[0]) // slog.String("field", …)
				return true
			}
			before, ok := logMethods[method.Sel.Name]
			if !ok || !isLog(method.X) || len(call.Args) <= before {
				return true
			}
			keep(call.Args[before])
			for i := before + 1; i < len(call.Args); i += 2 {
				keep(call.Args[i])
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// isLog tells an expression that is called log or Log.
func isLog(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return strings.EqualFold(e.Name, "log")
	case *ast.SelectorExpr:
		return strings.EqualFold(e.Sel.Name, "log")
	}
	return false
}
