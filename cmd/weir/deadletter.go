package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type deadLettersCommand struct {
	List   deadLettersListCommand   `cmd:"" help:"List the records that the ledger could not keep, of all replicas."`
	Replay deadLettersReplayCommand `cmd:"" help:"Write records to the ledger that it could not keep, each once."`
}

type deadLettersListCommand struct {
	connection
	listOutput
}

type deadLettersReplayCommand struct {
	connection
	ID     string `arg:"" optional:"" help:"Which one, as weir ledger dead-letters list has it."`
	All    bool   `help:"All of them."`
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// letterResult is what is told of one dead letter.
type letterResult struct {
	ID        string `json:"id"`
	Time      string `json:"time"`
	RequestID string `json:"request_id"`
	Attempt   int32  `json:"attempt"`
	Readable  bool   `json:"readable"`
	Tenant    string `json:"tenant,omitempty"`
	Model     string `json:"model,omitempty"`
	Outcome   string `json:"outcome,omitempty"`
	Cause     string `json:"cause"`
}

func letterResultOf(l *weirv1.DeadLetter) letterResult {
	return letterResult{lastSegment(l.Name), timeText(l.CreateTime), l.RequestId, l.Attempt, l.Readable, l.Tenant, l.Model, l.Outcome, l.Cause}
}

// letters reads all of them.
func letters(ctx context.Context, client weirv1.AccountingServiceClient) ([]letterResult, error) {
	results := []letterResult{}
	err := everyPage(func(token string) (string, error) {
		answer, err := client.ListDeadLetters(ctx, &weirv1.ListDeadLettersRequest{PageToken: token})
		for _, l := range answer.GetDeadLetters() {
			results = append(results, letterResultOf(l))
		}
		return answer.GetNextPageToken(), err
	})
	return results, err
}

func (c *deadLettersListCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	results, err := letters(ctx, weirv1.NewAccountingServiceClient(conn))
	if err != nil {
		return err
	}
	l := list{
		header: []string{"id", "time", "request_id", "attempt", "tenant", "model", "outcome", "cause"}, empty: "the ledger has kept everything",
		json: struct {
			DeadLetters []letterResult `json:"dead_letters"`
		}{results},
	}
	for _, r := range results {
		outcome := r.Outcome
		if !r.Readable {
			outcome = "unreadable"
		}
		l.rows = append(l.rows, []string{r.ID, r.Time, r.RequestID, strconv.Itoa(int(r.Attempt)), r.Tenant, r.Model, outcome, strings.ReplaceAll(r.Cause, "\n", " ")})
	}
	return c.print(t, l)
}

// replayResult is what became of one letter: counted, there_already or kept,
// which has a reason.
type replayResult struct {
	ID     string `json:"id"`
	Result string `json:"result"`
	Reason string `json:"reason,omitempty"`
}

func (c *deadLettersReplayCommand) Run(ctx context.Context, t terminal) error {
	if (c.ID == "") != c.All {
		return usageError(errors.New("say which dead letter: give its id, as weir ledger dead-letters list has it, or --all"))
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewAccountingServiceClient(conn)
	ids := []string{c.ID}
	if c.All {
		all, err := letters(ctx, client)
		if err != nil {
			return err
		}
		ids = nil
		for _, l := range all {
			ids = append(ids, l.ID)
		}
	}
	results := []replayResult{}
	kept := 0
	for _, id := range ids {
		answer, err := client.ReplayDeadLetter(ctx, &weirv1.ReplayDeadLetterRequest{Name: "deadLetters/" + id})
		switch {
		case c.All && status.Code(err) == codes.NotFound:
			continue // somebody else was at it
		case c.All && status.Code(err) == codes.FailedPrecondition:
			kept++
			results = append(results, replayResult{id, "kept", status.Convert(err).Message()})
		case err != nil:
			return told(err)
		case answer.Counted:
			results = append(results, replayResult{ID: id, Result: "counted"})
		default:
			results = append(results, replayResult{ID: id, Result: "there_already"})
		}
	}
	if c.Output == "json" {
		if err := printJSON(t.out, struct {
			Results []replayResult `json:"results"`
		}{results}); err != nil {
			return err
		}
	} else {
		printReplays(t, results)
	}
	if kept > 0 {
		return fmt.Errorf("dead letters that still cannot be kept in the ledger: %d of %d", kept, len(results))
	}
	return nil
}

func printReplays(t terminal, results []replayResult) {
	if len(results) == 0 {
		fmt.Fprintln(t.out, "there are no dead letters")
	}
	for _, r := range results {
		switch r.Result {
		case "counted":
			fmt.Fprintf(t.out, "dead letter %s is in the ledger now, and counted\n", r.ID)
		case "there_already":
			fmt.Fprintf(t.out, "dead letter %s was in the ledger already, and is not counted again\n", r.ID)
		default:
			fmt.Fprintln(t.out, r.Reason)
		}
	}
}
