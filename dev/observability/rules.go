package main

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// wanted are the annotations without which whoever is woken up does not know what to do.
var wanted = []string{"summary", "description", "runbook"}

// checkRules reports what Prometheus would not load, and what asks for metrics that are not there.
func (m metrics) checkRules(path string) ([]string, error) {
	groups, errs := rulefmt.ParseFile(path, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	var problems []string
	for _, err := range errs {
		problems = append(problems, err.Error())
	}
	if groups == nil {
		return problems, nil
	}
	count := 0
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			count++
			for _, problem := range m.checkExpression(rule.Expr) {
				problems = append(problems, fmt.Sprintf("%s: %s: %s", path, rule.Alert, problem))
			}
			for _, name := range wanted {
				if rule.Annotations[name] == "" {
					problems = append(problems, fmt.Sprintf("%s: %s has no annotation %s", path, rule.Alert, name))
				}
			}
			if rule.Labels["severity"] == "" {
				problems = append(problems, fmt.Sprintf("%s: %s has no label severity", path, rule.Alert))
			}
		}
	}
	if count == 0 {
		problems = append(problems, path+": has no rules")
	}
	return problems, nil
}
