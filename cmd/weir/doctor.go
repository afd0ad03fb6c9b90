package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type doctorCommand struct {
	connection
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// doctorResult is what `weir doctor -o json` prints; a verdict is ok, warn or
// bad.
type doctorResult struct {
	Verdict string              `json:"verdict"`
	Checks  []doctorCheckResult `json:"checks"`
}

type doctorCheckResult struct {
	Name     string   `json:"name"`
	Verdict  string   `json:"verdict"`
	Message  string   `json:"message"`
	Findings []string `json:"findings"`
}

// Run ends with 0 where everything is sound, exitWarned where somebody should
// look at something, and exitFailure where something is wrong.
func (c *doctorCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewAccountingServiceClient(conn).CheckLedger(ctx, &weirv1.CheckLedgerRequest{})
	if err != nil {
		return told(err)
	}
	if c.Output == "json" {
		out := doctorResult{Verdict: verdictWord(answer.Verdict), Checks: []doctorCheckResult{}}
		for _, check := range answer.Checks {
			out.Checks = append(out.Checks, doctorCheckResult{check.Name, verdictWord(check.Verdict), check.Message, append([]string{}, check.Findings...)})
		}
		err = printJSON(t.out, out)
	} else {
		err = printChecks(t, answer.Checks)
		if err == nil && answer.Verdict == weirv1.LedgerVerdict_LEDGER_VERDICT_OK {
			_, err = fmt.Fprintln(t.out, "the ledger is sound")
		}
	}
	if err != nil {
		return err
	}
	switch answer.Verdict {
	case weirv1.LedgerVerdict_LEDGER_VERDICT_OK:
		return nil
	case weirv1.LedgerVerdict_LEDGER_VERDICT_WARN:
		return &codedError{exitWarned, errors.New("no sum is wrong, and " + named(answer.Checks, answer.Verdict) + " needs a look")}
	}
	return fmt.Errorf("the ledger is not sound: %s", named(answer.Checks, answer.Verdict))
}

func verdictWord(v weirv1.LedgerVerdict) string { return enumWord(v.String(), "LEDGER_VERDICT_") }

// named are the checks that came to a verdict.
func named(checks []*weirv1.LedgerCheck, v weirv1.LedgerVerdict) string {
	var names []string
	for _, check := range checks {
		if check.Verdict == v {
			names = append(names, check.Name)
		}
	}
	return strings.Join(names, ", ")
}

// marks are what stands before a check, as wide as each other.
var marks = map[bool]map[string]string{
	false: {"ok": "ok  ", "warn": "warn", "bad": "BAD "},
	true:  {"ok": "\x1b[32m✓\x1b[0m", "warn": "\x1b[33m!\x1b[0m", "bad": "\x1b[31m✗\x1b[0m"},
}

// printChecks prints a line for each check, with what it found below.
func printChecks(t terminal, checks []*weirv1.LedgerCheck) error {
	widest := 0
	for _, check := range checks {
		widest = max(widest, len(check.Name))
	}
	var text strings.Builder
	marks := marks[t.colours()]
	for _, check := range checks {
		fmt.Fprintf(&text, "%s  %-*s  %s\n", marks[verdictWord(check.Verdict)], widest, check.Name, check.Message)
		for _, finding := range check.Findings {
			fmt.Fprintf(&text, "      - %s\n", finding)
		}
	}
	_, err := io.WriteString(t.out, text.String())
	return err
}
