package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type chatCommand struct {
	connection
	Model     string            `short:"m" required:"" help:"Model to talk with." placeholder:"NAME"`
	System    string            `help:"What the model is told before the talk." placeholder:"TEXT"`
	MaxTokens int32             `help:"Most tokens of each answer." placeholder:"N"`
	Label     map[string]string `help:"Label for cost reports; may be given more than once." placeholder:"KEY=VALUE"`
	EndUser   string            `help:"Pseudonym of whom the calls are for." placeholder:"ID"`
}

const (
	chatExit  = "/exit"
	chatReset = "/reset"
	// longestLine is more than anybody types and less than a call takes.
	longestLine = 1 << 20
)

// Run reads a line, streams the answer, and tells below it what it took. A
// prompt and that line go to standard error, and only where people look, so that
// standard output has the answers alone.
func (c *chatCommand) Run(ctx context.Context, t terminal) error {
	// Ctrl-C ends an answer and not the program, so what main made of it must not
	// end the calls.
	talk, end := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM)
	defer end()
	talk, conn, err := c.dial(talk, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	return c.converse(talk, weirv1.NewGenerationServiceClient(conn), t, interrupts)
}

// converse is the talk itself. An interrupt while no answer comes ends it.
func (c *chatCommand) converse(ctx context.Context, client weirv1.GenerationServiceClient, t terminal, interrupts <-chan os.Signal) error {
	ask := callCommand{Model: c.Model, System: c.System, MaxTokens: c.MaxTokens, Label: c.Label, EndUser: c.EndUser, Output: "text"}
	screen := t
	screen.out = t.err
	people := isTyped(t.in)
	ctx, end := context.WithCancel(ctx)
	defer end()
	lines := readLines(ctx, t.in)
	var past []*weirv1.Message
	var failed error
	for {
		if people {
			fmt.Fprint(t.err, "> ")
		}
		var line typed
		select {
		case <-interrupts:
			if people {
				fmt.Fprintln(t.err)
			}
			return failed
		case <-ctx.Done():
			return ctx.Err()
		case line = <-lines:
		}
		if line.err != nil {
			if people {
				fmt.Fprintln(t.err)
			}
			if errors.Is(line.err, io.EOF) {
				return failed
			}
			return line.err
		}
		switch text := strings.TrimSpace(line.text); text {
		case "":
			continue
		case chatExit:
			return failed
		case chatReset:
			past, failed = nil, nil
			screen.faint("forgotten")
			continue
		default:
			var answer *weirv1.Message
			answer, failed = c.turn(ctx, client, ask, past, text, t, screen, interrupts)
			if answer != nil {
				past = append(past, say(weirv1.Role_ROLE_USER, text), answer)
			}
			if failed != nil && people { // the talk goes on
				fmt.Fprintln(t.err, "weir:", failed)
				failed = nil
			}
			if failed != nil {
				return failed
			}
		}
	}
}

// turn asks one thing. It returns the answer as the model is to remember it, nil
// where there is none.
func (c *chatCommand) turn(ctx context.Context, client weirv1.GenerationServiceClient, ask callCommand, past []*weirv1.Message, text string, t, screen terminal, interrupts <-chan os.Signal) (*weirv1.Message, error) {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	done, wasCut := make(chan struct{}), make(chan bool, 1)
	go func() {
		select {
		case <-interrupts:
			cut()
			wasCut <- true
		case <-done:
			wasCut <- false
		}
	}()
	request := ask.request(text)
	last := len(request.Messages) - 1
	request.Messages = append(append(request.Messages[:last:last], past...), request.Messages[last])
	result, err := ask.stream(ctx, client, request, t)
	close(done)
	if result.Text != "" {
		fmt.Fprintln(t.out)
	}
	printMedia(t.out, result.Media)
	interrupted := <-wasCut
	switch {
	case interrupted:
		screen.faint("cut; what was said until then is remembered, and charged")
	case err != nil:
		return nil, told(err)
	default:
		screen.faint(turnText(result))
	}
	if result.FinishReason == "safety" {
		return nil, &codedError{exitBlocked, errors.New("the answer ends here, and is not remembered: " + blockedBy(result.Verdicts))}
	}
	if result.Text == "" {
		return nil, nil
	}
	return say(weirv1.Role_ROLE_ASSISTANT, result.Text), nil
}

// turnText tells what an answer took.
func turnText(r callResult) string {
	count := func(n *int64) string {
		if n == nil {
			return "?"
		}
		return fmt.Sprint(*n)
	}
	s := fmt.Sprintf("%s + %s tokens", count(r.Usage.InputTokens), count(r.Usage.OutputTokens))
	if r.Cost != nil {
		s += ", " + r.Cost.Amount + " " + r.Cost.Currency
	} else {
		s += ", no price"
	}
	if r.FinishReason != "" && r.FinishReason != "stop" {
		s += ", ended by " + r.FinishReason
	}
	return s + ", " + r.Target.Backend
}

// faint prints what is beside the talk.
func (t terminal) faint(s string) {
	if t.colours() {
		s = "\x1b[2m" + s + "\x1b[0m"
	}
	fmt.Fprintln(t.out, s)
}

// isTyped tells whether a person writes what is read.
func isTyped(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// typed is a line, or why there is none.
type typed struct {
	text string
	err  error
}

// readLines reads beside the talk, so that an interrupt is heard while nothing
// is typed.
func readLines(ctx context.Context, in io.Reader) <-chan typed {
	lines := make(chan typed)
	go func() {
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, longestLine)
		for more := true; more; {
			var line typed
			if more = scanner.Scan(); more {
				line.text = scanner.Text()
			} else if line.err = scanner.Err(); line.err == nil {
				line.err = io.EOF
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}
