package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v3"
)

// ruleTests is a file of tests of rules in the format of `promtool test rules`, as far as ours use it. promtool itself is not
// built here: with every service discovery of Prometheus in it, that takes several times as long as all else that is built.
type ruleTests struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []ruleTest     `yaml:"tests"`
}

// ruleTest is one case: the series that Prometheus has scraped, and what PromQL must then say.
type ruleTest struct {
	Name        string         `yaml:"name"`
	Interval    model.Duration `yaml:"interval"`
	InputSeries []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	ExprTests []exprTest `yaml:"promql_expr_test"`
}

type exprTest struct {
	Expr       string         `yaml:"expr"`
	EvalTime   model.Duration `yaml:"eval_time"`
	ExpSamples []struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	} `yaml:"exp_samples"`
}

// checkRuleTests runs the tests of a file, and reports as well which of their series no scraped one looks like.
func (m metrics) checkRuleTests(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file ruleTests
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return []string{fmt.Sprintf("%s: %v", path, err)}, nil
	}
	for i, rules := range file.RuleFiles {
		if !filepath.IsAbs(rules) {
			file.RuleFiles[i] = filepath.Join(filepath.Dir(path), rules)
		}
	}
	var problems []string
	if len(file.RuleFiles) == 0 || len(file.Tests) == 0 || file.EvaluationInterval == 0 {
		problems = append(problems, path+": needs rule_files, tests and an evaluation_interval")
		return problems, nil
	}
	for _, test := range file.Tests {
		for _, problem := range append(m.checkSeries(test), file.run(test)...) {
			problems = append(problems, fmt.Sprintf("%s: %s: %s", path, test.Name, problem))
		}
	}
	return problems, nil
}

// checkSeries reports series with a name that was not scraped, or with other labels than a series of that name has.
func (m metrics) checkSeries(test ruleTest) []string {
	var problems []string
	for _, input := range test.InputSeries {
		series, err := parser.NewParser(parser.Options{}).ParseMetric(input.Series)
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		var names []string
		series.Range(func(label labels.Label) { names = append(names, label.Name) })
		same := func(scraped model.Metric) bool { return slices.Equal(ownNames(names), ownNames(namesOf(scraped))) }
		if !slices.ContainsFunc(m[series.Get(model.MetricNameLabel)], same) {
			problems = append(problems, fmt.Sprintf("nothing that was scraped has the name and labels of %s", input.Series))
		}
	}
	return problems
}

func namesOf(series model.Metric) []string {
	var names []string
	for name := range series {
		names = append(names, string(name))
	}
	return names
}

// ownNames leaves out the labels that Prometheus adds, and sorts the others.
func ownNames(names []string) []string {
	own := slices.DeleteFunc(names, func(name string) bool { return added[name] })
	slices.Sort(own)
	return own
}

// run evaluates the rules as Prometheus does, at each interval until the last question, and reports wrong answers.
func (file ruleTests) run(test ruleTest) []string {
	interval := time.Duration(test.Interval)
	if interval == 0 {
		interval = time.Duration(file.EvaluationInterval)
	}
	load := fmt.Sprintf("load %s\n", model.Duration(interval))
	for _, input := range test.InputSeries {
		load += fmt.Sprintf("  %s %s\n", input.Series, input.Values)
	}
	expressions := parser.NewParser(parser.Options{})
	suite, err := promqltest.NewLazyLoader(load, promqltest.LazyLoaderOpts{
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: expressions,
	})
	if err != nil {
		return []string{err.Error()}
	}
	defer suite.Close()
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:    rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		AppendableV2: suite.Storage(),
		Context:      context.Background(),
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		Logger:       slog.New(slog.DiscardHandler),
		Parser:       expressions,
	})
	groups, errs := manager.LoadGroups(interval, labels.EmptyLabels(), "", nil, false, file.RuleFiles...)
	if len(errs) > 0 {
		return []string{fmt.Sprint(errs)}
	}
	var last time.Duration
	for _, question := range test.ExprTests {
		last = max(last, time.Duration(question.EvalTime))
	}
	var problems []string
	for at := time.Duration(0); at <= last; at += time.Duration(file.EvaluationInterval) {
		suite.WithSamplesTill(time.Unix(0, 0).Add(at), func(err error) {
			if err != nil {
				problems = append(problems, err.Error())
			}
			for _, group := range groups {
				problems = append(problems, evaluate(suite.Context(), group, at)...)
			}
		})
	}
	for _, question := range test.ExprTests {
		if problem := question.ask(suite); problem != "" {
			problems = append(problems, problem)
		}
	}
	if len(test.ExprTests) == 0 {
		problems = append(problems, "asks for nothing")
	}
	return problems
}

func evaluate(ctx context.Context, group *rules.Group, at time.Duration) []string {
	for _, rule := range group.Rules() {
		if alert, ok := rule.(*rules.AlertingRule); ok {
			// Until its state is restored, which has nothing to restore here, an alert writes no ALERTS.
			alert.SetRestored(true)
		}
	}
	group.Eval(ctx, time.Unix(0, 0).Add(at))
	var problems []string
	for _, rule := range group.Rules() {
		if err := rule.LastError(); err != nil {
			problems = append(problems, fmt.Sprintf("%s at %s: %v", rule.Name(), at, err))
		}
	}
	return problems
}

// ask returns what is wrong with the answer; nothing when it is the expected one.
func (question exprTest) ask(suite *promqltest.LazyLoader) string {
	at := time.Unix(0, 0).Add(time.Duration(question.EvalTime))
	query, err := suite.QueryEngine().NewInstantQuery(suite.Context(), suite.Queryable(), nil, question.Expr, at)
	if err != nil {
		return err.Error()
	}
	defer query.Close()
	result := query.Exec(suite.Context())
	vector, err := result.Vector()
	if err != nil {
		return fmt.Sprintf("%s: %v", question.Expr, err)
	}
	var expected []string
	for _, sample := range question.ExpSamples {
		series, err := parser.NewParser(parser.Options{}).ParseMetric(sample.Labels)
		if err != nil {
			return err.Error()
		}
		expected = append(expected, line(series, sample.Value))
	}
	got := lines(vector)
	slices.Sort(expected)
	if !slices.Equal(got, expected) {
		return fmt.Sprintf("%s at %s: expected [%s], got [%s]",
			question.Expr, question.EvalTime, strings.Join(expected, ", "), strings.Join(got, ", "))
	}
	return ""
}

func lines(vector promql.Vector) []string {
	var all []string
	for _, sample := range vector {
		all = append(all, line(sample.Metric, sample.F))
	}
	slices.Sort(all)
	return all
}

func line(series labels.Labels, value float64) string {
	return fmt.Sprintf("%s %v", series, value)
}
