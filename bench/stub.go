package main

import "context"

func measureTraffic(context.Context, *world) error { return nil }
func measureScale(context.Context, *world) error   { return nil }
func measureIdle(context.Context, *world) error    { return nil }
func measureRestart(context.Context, *world) error { return nil }
