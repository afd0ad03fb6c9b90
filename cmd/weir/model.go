package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type modelCommand struct {
	List modelListCommand `cmd:"" help:"List the models, with the targets and prices behind them."`
	Get  modelGetCommand  `cmd:"" help:"Tell all of one model."`
}

type modelListCommand struct {
	connection
	listOutput
}

type modelResult struct {
	Name     string              `json:"name"`
	Targets  []modelTargetResult `json:"targets"`
	Policies []string            `json:"policies"`
}

type modelTargetResult struct {
	Backend  string            `json:"backend"`
	Kind     string            `json:"kind"`
	Model    string            `json:"model"`
	Can      []string          `json:"can"`
	Price    string            `json:"price,omitempty"`
	Currency string            `json:"currency,omitempty"`
	PerUnit  map[string]string `json:"per_unit,omitempty"`
}

func (c *modelListCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewModelServiceClient(conn)
	models := []modelResult{}
	if err := everyPage(func(token string) (string, error) {
		answer, err := client.ListModels(ctx, &weirv1.ListModelsRequest{PageToken: token})
		for _, m := range answer.GetModels() {
			models = append(models, modelResultOf(m))
		}
		return answer.GetNextPageToken(), err
	}); err != nil {
		return err
	}
	l := list{
		header: []string{"model", "backend", "kind", "backend_model", "can", "price", "policies"}, empty: "there are no models: name some in weir.yaml",
		json: struct {
			Models []modelResult `json:"models"`
		}{models},
	}
	for _, m := range models {
		for _, target := range m.Targets {
			price := target.Price
			if price == "" {
				price = "unknown"
			}
			l.rows = append(l.rows, []string{m.Name, target.Backend, target.Kind, target.Model, strings.Join(target.Can, " "), price, strings.Join(m.Policies, " ")})
		}
	}
	return c.print(t, l)
}

func modelResultOf(m *weirv1.Model) modelResult {
	out := modelResult{Name: strings.TrimPrefix(m.Name, "models/"), Targets: []modelTargetResult{}, Policies: append([]string{}, m.Policies...)}
	for _, t := range m.Targets {
		can := t.GetCapabilities()
		target := modelTargetResult{Backend: t.Backend, Kind: t.Kind, Model: t.Model, Can: []string{}}
		for _, c := range []struct {
			is   bool
			word string
		}{{can.GetTools(), "tools"}, {can.GetJson(), "json"}, {can.GetJsonSchema(), "json-schema"}, {can.GetSeed(), "seed"}, {can.GetTopK(), "top-k"}, {can.GetCountsTokens(), "counts-tokens"}, {can.GetEmbeddings(), "embeddings"}} {
			if c.is {
				target.Can = append(target.Can, c.word)
			}
		}
		if p := t.Price; p != nil {
			target.Price, target.Currency, target.PerUnit = p.Version, p.CurrencyCode, p.UnitPrices
		}
		out.Targets = append(out.Targets, target)
	}
	return out
}

type modelGetCommand struct {
	connection
	Name   string `arg:"" help:"Name of the model."`
	Output string `short:"o" enum:"text,json" default:"text" help:"text, or json: the answer of ModelService.GetModel."`
}

func (c *modelGetCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewModelServiceClient(conn).GetModel(ctx, &weirv1.GetModelRequest{Name: "models/" + c.Name})
	if err != nil {
		return told(err)
	}
	m := answer.GetModel()
	if c.Output == "json" {
		text, err := protojson.MarshalOptions{Multiline: true}.Marshal(m)
		if err == nil {
			_, err = fmt.Fprintln(t.out, string(text))
		}
		return err
	}
	fmt.Fprintf(t.out, "%s: at most %d output tokens where the caller sets no limit\n", c.Name, m.GetDefaultMaxOutputTokens())
	for i, target := range modelResultOf(m).Targets {
		fmt.Fprintf(t.out, "target %d: %s of %s (%s); can: %s\n", i+1, target.Model, target.Backend, target.Kind, strings.Join(target.Can, ", "))
		if target.Price == "" {
			fmt.Fprintln(t.out, "  no price is known")
			continue
		}
		fmt.Fprintf(t.out, "  price %s\n", target.Price)
		for _, meter := range slices.Sorted(maps.Keys(target.PerUnit)) {
			fmt.Fprintf(t.out, "    %s: %s %s each\n", meter, target.PerUnit[meter], target.Currency)
		}
	}
	for _, name := range m.GetPolicies() {
		fmt.Fprintf(t.out, "policy %s applies\n", name)
	}
	return nil
}
