package main
import "github.com/freshbearer/freshbearer/bench/results"
func drawCharts(dir string, turns []results.Turn, about results.About) error { return nil }
