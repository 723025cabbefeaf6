package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type panel struct {
	ID      int    `json:"id"`
	Title   string `json:"title"`
	Type    string `json:"type"`
	GridPos struct {
		X, Y, W, H int
	} `json:"gridPos"`
	Targets []struct {
		Expr  string `json:"expr"`
		RefID string `json:"refId"`
	} `json:"targets"`
}

// width is that of a dashboard, in Grafana's units.
const width = 24

// rateInterval is what Grafana puts an interval for: one that holds some scrapes.
const rateInterval = "$__rate_interval"

// checkDashboard reports panels that can't be drawn: without a place or a title, or asking for metrics that are not there.
func (m metrics) checkDashboard(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var dashboard struct {
		UID    string  `json:"uid"`
		Title  string  `json:"title"`
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		return []string{fmt.Sprintf("%s: %v", path, err)}, nil
	}
	var problems []string
	wrong := func(format string, arguments ...any) {
		problems = append(problems, path+": "+fmt.Sprintf(format, arguments...))
	}
	if dashboard.UID == "" || dashboard.Title == "" || len(dashboard.Panels) == 0 {
		wrong("needs a uid, a title and panels")
	}
	ids := map[int]bool{}
	for i, panel := range dashboard.Panels {
		if panel.Title == "" || panel.Type == "" || ids[panel.ID] {
			wrong("panel %d needs a title, a type and an id of its own", i)
		}
		ids[panel.ID] = true
		if panel.Type == "row" || panel.Type == "text" {
			continue
		}
		place := panel.GridPos
		if place.W <= 0 || place.H <= 0 || place.X < 0 || place.X+place.W > width {
			wrong("%s: has no place that is on the dashboard", panel.Title)
		}
		for _, other := range dashboard.Panels[:i] {
			if o := other.GridPos; place.X < o.X+o.W && o.X < place.X+place.W && place.Y < o.Y+o.H && o.Y < place.Y+place.H {
				wrong("%s: lies on %s", panel.Title, other.Title)
			}
		}
		if len(panel.Targets) == 0 {
			wrong("%s: asks for nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			for _, problem := range m.checkExpression(strings.ReplaceAll(target.Expr, rateInterval, "5m")) {
				wrong("%s: %s", panel.Title, problem)
			}
		}
	}
	return problems, nil
}
