"""Event topics of an Aave v3 market, every revision's together.

A log only says where to look.  The names are checked against the published ABIs of 3.0.2 and 3.6
in tests/protocols/aave_v3/test_abis.py: each event of PoolConfigurator, AaveOracle and
PoolAddressesProvider must be here.
"""

from typing import Final

from keeper.model import Hash

TRANSFER: Final = Hash("0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef")
"""Transfer(address,address,uint256)"""
RESERVE_USED_AS_COLLATERAL_ENABLED: Final = Hash(
    "0x00058a56ea94653cdf4f152d227ace22d4c00ad99e2a43f58cb7d9e3feb295f2"
)
"""ReserveUsedAsCollateralEnabled(address,address)"""
RESERVE_USED_AS_COLLATERAL_DISABLED: Final = Hash(
    "0x44c58d81365b66dd4b1a7f36c25aa97b8c71c361ee4937adc1a00000227db5dd"
)
"""ReserveUsedAsCollateralDisabled(address,address)"""
USER_E_MODE_SET: Final = Hash("0xd728da875fc88944cbf17638bcbe4af0eedaef63becd1d1c57cc097eb4608d84")
"""UserEModeSet(address,uint8)"""
LIQUIDATION_CALL: Final = Hash("0xe413a321e8681d831f4dbccbca790d2952b56f977908e45be37335533e005286")
"""LiquidationCall(address,address,address,uint256,uint256,address,bool)"""

CONFIGURATOR: Final[dict[str, Hash]] = {
    "ATokenUpgraded(address,address,address)": Hash(
        "0xa76f65411ec66a7fb6bc467432eb14767900449ae4469fa295e4441fe5e1cb73"
    ),
    "AssetBorrowableInEModeChanged(address,uint8,bool)": Hash(
        "0x60087ca045be9d8d1301445e67d6248eddba97629c80284fa4910c0e52f103ab"
    ),
    "AssetCollateralInEModeChanged(address,uint8,bool)": Hash(
        "0x79409190108b26fcb0e4570f8e240f627bf18fd01a55f751010224d5bd486098"
    ),
    "AssetLtvzeroInEModeChanged(address,uint8,bool)": Hash(
        "0xc0a450fbad635333e47f3322ec028a8e0b3909f79c721312a356a0fab5fa8b94"
    ),
    "BorrowCapChanged(address,uint256,uint256)": Hash(
        "0xc51aca575985d521c5072ad11549bad77013bb786d57f30f94b40ed8f8dc9bc4"
    ),
    "BorrowableInIsolationChanged(address,bool)": Hash(
        "0x74adf6aaf58c08bc4f993640385e136522375ea3d1589a10d02adbb906c67d1c"
    ),
    "BridgeProtocolFeeUpdated(uint256,uint256)": Hash(
        "0x30b17cb587a89089d003457c432f73e22aeee93de425e92224ba01080260ecd9"
    ),
    "CollateralConfigurationChanged(address,uint256,uint256,uint256)": Hash(
        "0x637febbda9275aea2e85c0ff690444c8d87eb2e8339bbede9715abcc89cb0995"
    ),
    "DebtCeilingChanged(address,uint256,uint256)": Hash(
        "0x6824a6c7fbc10d2979b1f1ccf2dd4ed0436541679a661dedb5c10bd4be830682"
    ),
    "EModeAssetCategoryChanged(address,uint8,uint8)": Hash(
        "0x5bb69795b6a2ea222d73a5f8939c23471a1f85a99c7ca43c207f1b71f10c6264"
    ),
    "EModeCategoryAdded(uint8,uint256,uint256,uint256,address,string)": Hash(
        "0x0acf8b4a3cace10779798a89a206a0ae73a71b63acdd3be2801d39c2ef7ab3cb"
    ),
    "FlashloanPremiumToProtocolUpdated(uint128,uint128)": Hash(
        "0xe7e0c75e1fc2d0bd83dc85d59f085b3e763107c392fb368e85572b292f1f5576"
    ),
    "FlashloanPremiumTotalUpdated(uint128,uint128)": Hash(
        "0x71aba182c9d0529b516de7a78bed74d49c207ef7e152f52f7ea5d8730138f643"
    ),
    "LiquidationGracePeriodChanged(address,uint40)": Hash(
        "0xdf4f96448786bcd6fecc9f1fa25f1fbbbee6a5c9e76d635a615ac57bb5983d10"
    ),
    "LiquidationGracePeriodDisabled(address)": Hash(
        "0x1df36dc1651d06d990805068d22811a3a9ca4396190787ef59f9102e61868fff"
    ),
    "LiquidationProtocolFeeChanged(address,uint256,uint256)": Hash(
        "0xb5b0a963825337808b6e3154de8e98027595a5cad4219bb3a9bc55b192f4b391"
    ),
    "PendingLtvChanged(address,uint256)": Hash(
        "0x6a3fa1f355f7c7ab43e41cb277d1f8471f2693c63dca91049d5ec127bb588e10"
    ),
    "ReserveActive(address,bool)": Hash(
        "0xc36c7d11ba01a5869d52aa4a3781939dab851cbc9ee6e7fdcedc7d58898a3f1e"
    ),
    "ReserveBorrowing(address,bool)": Hash(
        "0x2443ba28e8d1d88d531a3d90b981816a4f3b3c7f1fd4085c6029e81d1b7a570d"
    ),
    "ReserveDropped(address)": Hash(
        "0xeeec4c06f7adad215cbdb4d2960896c83c26aedce02dde76d36fa28588d62da4"
    ),
    "ReserveFactorChanged(address,uint256,uint256)": Hash(
        "0xb46e2b82b0c2cf3d7d9dece53635e165c53e0eaa7a44f904d61a2b7174826aef"
    ),
    "ReserveFlashLoaning(address,bool)": Hash(
        "0xc8ff3cc5b0fddaa3e6ebbbd7438f43393e4ea30e88b80ad016c1bc094655034d"
    ),
    "ReserveFrozen(address,bool)": Hash(
        "0x0c4443d258a350d27dc50c378b2ebf165e6469725f786d21b30cab16823f5587"
    ),
    "ReserveInitialized(address,address,address,address,address)": Hash(
        "0x3a0ca721fc364424566385a1aa271ed508cc2c0949c2272575fb3013a163a45f"
    ),
    "ReserveInterestRateDataChanged(address,address,bytes)": Hash(
        "0x1e608c2c753fede2f1f22fca4170277b53ebe5015e488a53414a8921446b7c40"
    ),
    "ReserveInterestRateStrategyChanged(address,address,address)": Hash(
        "0xdb8dada53709ce4988154324196790c2e4a60c377e1256790946f83b87db3c33"
    ),
    "ReservePaused(address,bool)": Hash(
        "0xe188d542a5f11925d3a3af33703cdd30a43cb3e8066a3cf68b1b57f61a5a94b5"
    ),
    "ReserveStableRateBorrowing(address,bool)": Hash(
        "0x0b64d0941719acd363f1a6be3d8525d8ec9d71738f7445aabcd88d7939b472e7"
    ),
    "SiloedBorrowingChanged(address,bool,bool)": Hash(
        "0x842a280b07e8e502a9101f32a3b768ebaba3655556dd674f0831900861fc674b"
    ),
    "StableDebtTokenUpgraded(address,address,address)": Hash(
        "0x7a943a5b6c214bf7726c069a878b1e2a8e7371981d516048b84e03743e67bc28"
    ),
    "SupplyCapChanged(address,uint256,uint256)": Hash(
        "0x0263602682188540a2d633561c0b4453b7d8566285e99f9f6018b8ef2facef49"
    ),
    "UnbackedMintCapChanged(address,uint256,uint256)": Hash(
        "0x09808b1fc5abde94edf02fdde393bea0d2e4795999ba31695472848638b5c29f"
    ),
    "VariableDebtTokenUpgraded(address,address,address)": Hash(
        "0x9439658a562a5c46b1173589df89cf001483d685bad28aedaff4a88656292d81"
    ),
}
"""PoolConfigurator, 3.0 to 3.6."""

ORACLE: Final[dict[str, Hash]] = {
    "AssetSourceUpdated(address,address)": Hash(
        "0x22c5b7b2d8561d39f7f210b6b326a1aa69f15311163082308ac4877db6339dc1"
    ),
    "BaseCurrencySet(address,uint256)": Hash(
        "0xe27c4c1372396a3d15a9922f74f9dfc7c72b1ad6d63868470787249c356454c1"
    ),
    "FallbackOracleUpdated(address)": Hash(
        "0xce7a780d33665b1ea097af5f155e3821b809ecbaa839d3b33aa83ba28168cefb"
    ),
}
"""AaveOracle."""

PROVIDER: Final[dict[str, Hash]] = {
    "ACLAdminUpdated(address,address)": Hash(
        "0xe9cf53972264dc95304fd424458745019ddfca0e37ae8f703d74772c41ad115b"
    ),
    "ACLManagerUpdated(address,address)": Hash(
        "0xb30efa04327bb8a537d61cc1e5c48095345ad18ef7cc04e6bacf7dfb6caaf507"
    ),
    "AddressSet(bytes32,address,address)": Hash(
        "0x9ef0e8c8e52743bb38b83b17d9429141d494b8041ca6d616a6c77cebae9cd8b7"
    ),
    "AddressSetAsProxy(bytes32,address,address,address)": Hash(
        "0x3bbd45b5429b385e3fb37ad5cd1cd1435a3c8ec32196c7937597365a3fd3e99c"
    ),
    "MarketIdSet(string,string)": Hash(
        "0xe685c8cdecc6030c45030fd54778812cb84ed8e4467c38294403d68ba7860823"
    ),
    "PoolConfiguratorUpdated(address,address)": Hash(
        "0x8932892569eba59c8382a089d9b732d1f49272878775235761a2a6b0309cd465"
    ),
    "PoolDataProviderUpdated(address,address)": Hash(
        "0xc853974cfbf81487a14a23565917bee63f527853bcb5fa54f2ae1cdf8a38356d"
    ),
    "PoolUpdated(address,address)": Hash(
        "0x90affc163f1a2dfedcd36aa02ed992eeeba8100a4014f0b4cdc20ea265a66627"
    ),
    "PriceOracleSentinelUpdated(address,address)": Hash(
        "0x5326514eeca90494a14bedabcff812a0e683029ee85d1e23824d44fd14cd6ae7"
    ),
    "PriceOracleUpdated(address,address)": Hash(
        "0x56b5f80d8cac1479698aa7d01605fd6111e90b15fc4d2b377417f46034876cbd"
    ),
    "ProxyCreated(bytes32,address,address)": Hash(
        "0x4a465a9bd819d9662563c1e11ae958f8109e437e7f4bf1c6ef0b9a7b3f35d478"
    ),
}
"""PoolAddressesProvider."""
