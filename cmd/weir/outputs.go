package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type outputsCommand struct {
	List   outputsListCommand   `cmd:"" help:"List calls with what is kept of them, newest first."`
	Export outputsExportCommand `cmd:"" help:"Print what is kept of calls, one line of JSON a call, newest first."`
	Rate   outputsRateCommand   `cmd:"" help:"Rate an output."`
}

// outputsFilter says which outputs are meant; commands that read them embed it.
type outputsFilter struct {
	span
	Tenant   string `help:"Tenant whose outputs they are; that of the key where it is absent." placeholder:"NAME"`
	Model    string `help:"Only calls of this model." placeholder:"NAME"`
	Project  string `help:"Only calls of this project." placeholder:"NAME"`
	Finish   string `help:"Only calls that ended so: stop, length, tool_calls, safety, backend_filter, refusal, budget, deadline, cancelled, backend_error." placeholder:"REASON"`
	Verdicts *bool  `help:"Only calls with findings; --verdicts=false for those without."`
}

type outputsListCommand struct {
	connection
	outputsFilter
	Limit int `default:"50" help:"Most outputs to list." placeholder:"N"`
	listOutput
}

type outputsExportCommand struct {
	connection
	outputsFilter
	Output string `short:"o" enum:"jsonl" default:"jsonl" help:"jsonl."`
}

type outputsRateCommand struct {
	connection
	RequestID string   `arg:"" help:"Id of the call, as weir outputs list has it."`
	Tenant    string   `help:"Tenant whose output it is; that of the key where it is absent." placeholder:"NAME"`
	Score     *float64 `help:"From 0, worst, to 1, best." placeholder:"NUMBER"`
	Grade     *int64   `help:"By a scale of your own, such as 1 to 5." placeholder:"NUMBER"`
	Up        bool     `help:"Thumbs up." xor:"thumb"`
	Down      bool     `help:"Thumbs down." xor:"thumb"`
	Comment   string   `help:"Why." placeholder:"TEXT"`
	Corrected string   `help:"What the answer should have been." placeholder:"TEXT"`
	Rater     string   `help:"Who you are." placeholder:"NAME"`
	ID        string   `help:"Name of the rating: sent again it makes no second one. Made up where it is absent." placeholder:"NAME"`
	Output    string   `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// outputLine is a call as weir outputs export prints it. What is not kept or
// not known is absent.
type outputLine struct {
	RequestID    string            `json:"request_id"`
	Tenant       string            `json:"tenant"`
	Project      string            `json:"project"`
	Key          string            `json:"key"`
	Model        string            `json:"model"`
	Backend      string            `json:"backend,omitempty"`
	BackendModel string            `json:"backend_model,omitempty"`
	Time         string            `json:"time"`
	Seconds      float64           `json:"seconds"`
	Labels       map[string]string `json:"labels,omitempty"`
	EndUser      string            `json:"end_user,omitempty"`
	Session      string            `json:"session,omitempty"`
	Messages     *[]messageLine    `json:"messages,omitempty"`
	Output       *[]candidateLine  `json:"output,omitempty"`
	Verdicts     []verdictInfo     `json:"verdicts"`
	Usage        *usageResult      `json:"usage,omitempty"`
	Cost         *moneyResult      `json:"cost,omitempty"`
	FinishReason string            `json:"finish_reason,omitempty"`
	ErrorReason  string            `json:"error_reason,omitempty"`
	Mode         string            `json:"mode"`
	Probability  float64           `json:"probability"`
	Ratings      []ratingLine      `json:"ratings"`
}

type messageLine struct {
	Role  string     `json:"role"`
	Name  string     `json:"name,omitempty"`
	Parts []partLine `json:"parts"`
}

// partLine has one of its fields; what a tool answered that is no text has two.
type partLine struct {
	Text       *string         `json:"text,omitempty"`
	Reasoning  *string         `json:"reasoning,omitempty"`
	Refusal    *string         `json:"refusal,omitempty"`
	Transcript *string         `json:"transcript,omitempty"`
	ToolCall   *toolCallResult `json:"tool_call,omitempty"`
	ToolResult *toolResultLine `json:"tool_result,omitempty"`
	Media      *mediaLine      `json:"media,omitempty"`
}

// mediaLine says what media was. Its bytes are not kept.
type mediaLine struct {
	Modality  string `json:"modality"`
	MediaType string `json:"media_type,omitempty"`
	SizeBytes int64  `json:"size_bytes"`
}

func mediaLineOf(m *weirv1.Media) *mediaLine {
	return &mediaLine{enumWord(m.Modality.String(), "MODALITY_"), m.MediaType, m.SizeBytes}
}

type toolResultLine struct {
	ToolCallID string `json:"tool_call_id"`
	Name       string `json:"name,omitempty"`
	Text       string `json:"text"`
	Failed     bool   `json:"failed,omitempty"`
}

type candidateLine struct {
	Parts        []partLine `json:"parts"`
	FinishReason string     `json:"finish_reason,omitempty"`
}

type ratingLine struct {
	ID        string   `json:"id"`
	Thumb     string   `json:"thumb,omitempty"`
	Score     *float64 `json:"score,omitempty"`
	Grade     *int64   `json:"grade,omitempty"`
	Comment   string   `json:"comment,omitempty"`
	Corrected string   `json:"corrected_output,omitempty"`
	Rater     string   `json:"rater,omitempty"`
	Key       string   `json:"key"`
	Time      string   `json:"time"`
}

func (c *outputsListCommand) Run(ctx context.Context, t terminal) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return usageError(err)
	}
	if c.Limit < 1 {
		return usageError(errors.New("--limit wants a number of outputs from 1 on"))
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewEvaluationServiceClient(conn)
	lines := []outputLine{}
	for page := ""; len(lines) < c.Limit; {
		answer, err := client.ListOutputs(ctx, &weirv1.ListOutputsRequest{
			Parent: tenantOrOwn(c.Tenant), Filter: filter, PageSize: int32(min(c.Limit-len(lines), 200)), PageToken: page,
		})
		if err != nil {
			return told(err)
		}
		for _, o := range answer.Outputs {
			lines = append(lines, outputLineOf(o))
		}
		if page = answer.NextPageToken; page == "" {
			break
		}
	}
	return c.print(t, outputsList(lines))
}

func (c *outputsExportCommand) Run(ctx context.Context, t terminal) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return usageError(err)
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := weirv1.NewEvaluationServiceClient(conn).ExportOutputs(ctx, &weirv1.ExportOutputsRequest{Parent: tenantOrOwn(c.Tenant), Filter: filter})
	if err != nil {
		return told(err)
	}
	encoder := json.NewEncoder(t.out)
	encoder.SetEscapeHTML(false)
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return told(err)
		}
		if err := encoder.Encode(outputLineOf(answer.Output)); err != nil {
			return err
		}
	}
}

func (c *outputsRateCommand) Run(ctx context.Context, t terminal) error {
	rating := &weirv1.Rating{Score: c.Score, Grade: c.Grade, Comment: c.Comment, CorrectedOutput: c.Corrected, Rater: c.Rater}
	switch {
	case c.Up:
		rating.Thumb = weirv1.Thumb_THUMB_UP
	case c.Down:
		rating.Thumb = weirv1.Thumb_THUMB_DOWN
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewEvaluationServiceClient(conn).CreateRating(ctx, &weirv1.CreateRatingRequest{
		Parent: tenantOrOwn(c.Tenant) + "/outputs/" + c.RequestID, Rating: rating, RatingId: c.ID,
	})
	if err != nil {
		return told(err)
	}
	if c.Output == "json" {
		return printJSON(t.out, ratingLineOf(answer.Rating))
	}
	_, err = fmt.Fprintf(t.out, "%s is rated (%s)\n", c.RequestID, lastSegment(answer.Rating.Name))
	return err
}

func (f *outputsFilter) filter(now time.Time) (*weirv1.OutputFilter, error) {
	from, to, err := f.bounds(now)
	if err != nil {
		return nil, err
	}
	out := &weirv1.OutputFilter{StartTime: timestamppb.New(from), EndTime: timestamppb.New(to), Model: f.Model, Project: f.Project, HasVerdict: f.Verdicts}
	if f.Finish != "" {
		n, known := weirv1.FinishReason_value["FINISH_REASON_"+strings.ToUpper(f.Finish)]
		if !known || n == 0 {
			return nil, fmt.Errorf("%q is no finish reason: see weir outputs list --help", f.Finish)
		}
		out.FinishReason = weirv1.FinishReason(n)
	}
	return out, nil
}

// tenantOrOwn is the resource name of a tenant, or of that of the key.
func tenantOrOwn(name string) string {
	if name == "" {
		name = "-"
	}
	return "tenants/" + name
}

func outputLineOf(o *weirv1.Output) outputLine {
	line := outputLine{
		RequestID: o.RequestId, Tenant: strings.Split(o.Name, "/")[1], Project: o.Project, Key: o.Key,
		Model: o.Model, Backend: o.Backend, BackendModel: o.BackendModel,
		Time: o.StartTime.AsTime().Format(time.RFC3339Nano), Seconds: o.Timing.GetTotal().AsDuration().Seconds(),
		Labels: o.Labels, EndUser: o.EndUser, Session: o.Session, Verdicts: verdictInfos(o.Verdicts),
		FinishReason: enumWord(o.FinishReason.String(), "FINISH_REASON_"),
		Mode:         enumWord(o.Mode.String(), "OUTPUT_MODE_"), Probability: o.Probability, Ratings: []ratingLine{},
	}
	if o.ErrorReason != 0 {
		line.ErrorReason = strings.TrimPrefix(o.ErrorReason.String(), "ERROR_REASON_")
	}
	if o.Usage != nil {
		usage := usageResultOf(o.Usage)
		line.Usage = &usage
	}
	if o.Cost != nil {
		line.Cost = &moneyResult{moneyOf(o.Cost.Total).Decimal(), o.Cost.Total.GetCurrencyCode()}
	}
	if o.Content != nil {
		messages, output := []messageLine{}, []candidateLine{}
		for _, m := range o.Content.Messages {
			messages = append(messages, messageLine{enumWord(m.Role.String(), "ROLE_"), m.Name, partLines(m.Parts)})
		}
		for _, c := range o.Content.Candidates {
			output = append(output, candidateLine{partLines(c.Message.GetParts()), enumWord(c.FinishReason.String(), "FINISH_REASON_")})
		}
		line.Messages, line.Output = &messages, &output
	}
	for _, r := range o.Ratings {
		line.Ratings = append(line.Ratings, ratingLineOf(r))
	}
	return line
}

func partLines(parts []*weirv1.Part) []partLine {
	list := []partLine{}
	for _, p := range parts {
		var line partLine
		switch data := p.Data.(type) {
		case *weirv1.Part_Text:
			line.Text = &data.Text
		case *weirv1.Part_Reasoning:
			line.Reasoning = &data.Reasoning.Text
		case *weirv1.Part_Refusal:
			line.Refusal = &data.Refusal.Text
		case *weirv1.Part_Transcript:
			line.Transcript = &data.Transcript.Text
		case *weirv1.Part_ToolCall:
			line.ToolCall = &toolCallResult{data.ToolCall.Id, data.ToolCall.Name, data.ToolCall.ArgumentsJson}
		case *weirv1.Part_ToolResult:
			r := data.ToolResult
			line.ToolResult = &toolResultLine{r.ToolCallId, r.Name, r.Text, r.Failed}
			for _, m := range r.Media { // at most one: each is kept by itself
				line.Media = mediaLineOf(m)
			}
		case *weirv1.Part_Media:
			line.Media = mediaLineOf(data.Media)
		}
		list = append(list, line)
	}
	return list
}

func ratingLineOf(r *weirv1.Rating) ratingLine {
	line := ratingLine{
		ID: lastSegment(r.Name), Score: r.Score, Grade: r.Grade, Comment: r.Comment, Corrected: r.CorrectedOutput,
		Rater: r.Rater, Key: r.Key, Time: timeText(r.CreateTime),
	}
	if r.Thumb != weirv1.Thumb_THUMB_UNSPECIFIED {
		line.Thumb = enumWord(r.Thumb.String(), "THUMB_")
	}
	return line
}

// outputsList is a table of calls; their text is in its JSON alone.
func outputsList(lines []outputLine) list {
	l := list{
		header: []string{"time", "request_id", "project", "model", "finish", "verdicts", "ratings", "cost", "mode"},
		empty:  "no outputs in this time",
		json: struct {
			Outputs []outputLine `json:"outputs"`
		}{lines},
	}
	for _, o := range lines {
		cost := ""
		if o.Cost != nil {
			cost = o.Cost.Amount + " " + o.Cost.Currency
		}
		at, _, _ := strings.Cut(o.Time, ".")
		l.rows = append(l.rows, []string{
			strings.TrimSuffix(at, "Z") + "Z", o.RequestID, o.Project, o.Model, o.FinishReason, strconv.Itoa(len(o.Verdicts)), strconv.Itoa(len(o.Ratings)), cost, o.Mode,
		})
	}
	return l
}
