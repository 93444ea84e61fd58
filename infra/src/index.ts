export { PlacetGate, type PlacetFunctions } from './placet-gate.js';
export type { GateDomain, LogLevel, PlacetGateProps, Throttle } from './props.js';
