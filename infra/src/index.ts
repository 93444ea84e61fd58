export { PlacetGate, type PlacetFunctions } from './placet-gate.js';
export type { Concurrency, GateDomain, LogLevel, PlacetGateProps, Throttle } from './props.js';
