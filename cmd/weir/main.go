// Command weir is the gateway and its command line. It is the one place that
// knows which drivers and which stores there are, and wires everything; what
// a call goes through is in server/gateway.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// The exit codes, for scripts.
const (
	exitOK          = 0
	exitFailure     = 1 // anything that has no code of its own
	exitUsage       = 2 // a wrong flag, configuration or document
	exitBlocked     = 3 // a policy blocked the input or the output
	exitExhausted   = 4 // a rate or a budget is exhausted
	exitUnavailable = 5 // the server, its store or the backend is away
	exitWarned      = 6 // weir doctor or weir price import found what somebody should look at
)

// command is the command line. Every subcommand has a file of its own.
type command struct {
	Serve   serveCommand   `cmd:"" help:"Run the gateway."`
	Demo    demoCommand    `cmd:"" help:"Show the main job on this machine, from the first call to the bill, and end."`
	Call    callCommand    `cmd:"" help:"Ask a model."`
	Chat    chatCommand    `cmd:"" help:"Talk with a model."`
	Apply   applyCommand   `cmd:"" help:"Apply documents: tenants, prices, budgets, policies, lexicons."`
	Policy  policyCommand  `cmd:"" help:"Try policies on texts, tell what they do, list and delete them."`
	Model   modelCommand   `cmd:"" help:"Tell which models there are."`
	Tenant  tenantCommand  `cmd:"" help:"Tell which tenants there are."`
	Key     keyCommand     `cmd:"" help:"Make, list, rotate and revoke API keys."`
	Backend backendCommand `cmd:"" help:"Tell how the backends are doing."`
	Budget  budgetCommand  `cmd:"" help:"Tell how budgets stand, and adjust them."`
	Price   priceCommand   `cmd:"" help:"Tell what models cost, and make Price documents of public price files."`
	Ledger  ledgerCommand  `cmd:"" help:"Tell what the ledger has of calls, and replay what it could not keep."`
	Lease   leaseCommand   `cmd:"" help:"Tell what replicas have set aside of budgets, and reclaim it."`
	Doctor  doctorCommand  `cmd:"" help:"Tell whether the ledger is sound."`
	Report  reportCommand  `cmd:"" help:"Tell what was spent."`
	Outputs outputsCommand `cmd:"" help:"Tell what calls said, and rate it."`
	Audit   auditCommand   `cmd:"" help:"Tell who changed what."`
	Proto   protoCommand   `cmd:"" help:"What gRPC clients need beside an address."`
	Version versionCommand `cmd:"" help:"Tell the version."`

	Completion completionCommand `cmd:"" help:"Print what makes a shell complete commands and flags."`
}

// terminal is what a command can reach of the world.
type terminal struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) (string, bool)
}

// A codedError ends the program with a code of its own.
type codedError struct {
	code int
	error
}

func (e *codedError) Unwrap() error { return e.error }

func usageError(err error) error { return &codedError{exitUsage, err} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr, os.LookupEnv}))
}

// reached is the command up to which the arguments could be read.
func reached(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context != nil {
		if node := wrong.Context.Selected(); node != nil {
			return node.FullPath()
		}
	}
	return "weir"
}

// run is the whole program but the process around it.
func run(ctx context.Context, args []string, t terminal) int {
	var c command
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("weir"),
		kong.Description("A gRPC gateway for generative models: policies in the middle of the stream, exact cost.\n\nWEIR_ADDR and WEIR_KEY say which Weir the commands talk to and as whom.\nExit codes: 1 failure, 2 wrong usage or document, 3 blocked by policy, 4 rate or budget exhausted, 5 unavailable, 6 warnings of weir doctor or rows that weir price import refused."),
		kong.Writers(t.out, t.err),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(t),
	)
	if err != nil {
		fmt.Fprintln(t.err, "weir:", err)
		return exitFailure
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited // --help has been shown
	}
	if err != nil {
		fmt.Fprintf(t.err, "weir: %v: see %s --help\n", err, reached(err))
		return exitUsage
	}
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(t.err, "weir:", err)
		var coded *codedError
		if errors.As(err, &coded) {
			return coded.code
		}
		return exitFailure
	}
	return exitOK
}
