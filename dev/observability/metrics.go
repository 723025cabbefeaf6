package main

import (
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// metrics has the series that were scraped, by name: what a histogram consists of is known by the names of its parts.
type metrics map[string][]model.Metric

// lint reports what is unusual about the names, the help and the units of metrics.
func (m metrics) lint(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	found, err := promlint.New(file).Lint()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var problems []string
	for _, problem := range found {
		problems = append(problems, fmt.Sprintf("%s: %s", problem.Metric, problem.Text))
	}
	return problems, nil
}

// read adds what a file has.
func (m metrics) read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	textParser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := textParser.TextToMetricFamilies(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, family := range families {
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, family)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, sample := range samples {
			name := string(sample.Metric[model.MetricNameLabel])
			m[name] = append(m[name], sample.Metric)
		}
	}
	return nil
}

// checkExpression reports what is wrong with a PromQL expression, and each selector in it that no series was scraped for.
func (m metrics) checkExpression(text string) []string {
	expression, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok && !m.has(selector) {
			problems = append(problems, fmt.Sprintf("nothing that was scraped matches %s", selector))
		}
		return nil
	})
	return problems
}

// added are the labels that Prometheus adds when it scrapes.
var added = map[string]bool{"job": true, "instance": true, "namespace": true, "pod": true}

func (m metrics) has(selector *parser.VectorSelector) bool {
	for _, series := range m[selector.Name] {
		if matches(selector.LabelMatchers, series) {
			return true
		}
	}
	return false
}

func matches(matchers []*labels.Matcher, series model.Metric) bool {
	for _, matcher := range matchers {
		if !added[matcher.Name] && !matcher.Matches(string(series[model.LabelName(matcher.Name)])) {
			return false
		}
	}
	return true
}
