"""What the net learns from: class weights, sampling and schedules, and the plan that they make for one fit."""
